// Asynchronous FIFO between two clocks, Gray-coded pointers.
//
// C. E. Cummings, "Simulation and Synthesis Techniques for Asynchronous FIFO Design", SNUG 2002,
// style 1. A pointer that crosses changes one bit at a time, so a synchroniser sees the old or the
// new value and nothing else. Each side has a synchronous reset of its own; hold both until both
// clocks have seen it. Capacity: 2**ADDR_WIDTH words and one in the output register.

`resetall
`default_nettype none

module async_fifo #(
    parameter DATA_WIDTH = 8,
    parameter ADDR_WIDTH = 4
) (
    // Words in
    input  wire                  s_clk,
    input  wire                  s_rst,
    input  wire [DATA_WIDTH-1:0] s_data,
    input  wire                  s_valid,
    output wire                  s_ready,

    // Words out
    input  wire                  m_clk,
    input  wire                  m_rst,
    output reg  [DATA_WIDTH-1:0] m_data,
    output reg                   m_valid,
    input  wire                  m_ready
);

    reg [DATA_WIDTH-1:0] mem [0:(1 << ADDR_WIDTH)-1];

    // Binary pointers, with one bit more than an address, and what crosses: their Gray code
    reg [ADDR_WIDTH:0] wr_bin;
    reg [ADDR_WIDTH:0] wr_gray;
    reg [ADDR_WIDTH:0] rd_bin;
    reg [ADDR_WIDTH:0] rd_gray;

    wire [ADDR_WIDTH:0] wr_gray_there;  // in the clock of the reader
    wire [ADDR_WIDTH:0] rd_gray_here;   // in the clock of the writer

    wire [ADDR_WIDTH:0] wr_next = wr_bin + 1'b1;
    wire [ADDR_WIDTH:0] rd_next = rd_bin + 1'b1;

    // Full: one lap ahead, which in Gray code is the two upper bits inverted.
    wire full  = wr_gray == (rd_gray_here ^ ({{ADDR_WIDTH{1'b0}}, 1'b1} << ADDR_WIDTH)
                                          ^ ({{ADDR_WIDTH{1'b0}}, 1'b1} << (ADDR_WIDTH - 1)));
    wire empty = rd_gray == wr_gray_there;

    wire write = s_valid && s_ready;
    wire read  = !empty && (!m_valid || m_ready);

    assign s_ready = !full;

    sync_bits #(.WIDTH(ADDR_WIDTH + 1)) sync_wr (
        .clk(m_clk), .rst(m_rst), .d(wr_gray), .q(wr_gray_there));

    sync_bits #(.WIDTH(ADDR_WIDTH + 1)) sync_rd (
        .clk(s_clk), .rst(s_rst), .d(rd_gray), .q(rd_gray_here));

    always @(posedge s_clk) begin
        if (write)
            mem[wr_bin[ADDR_WIDTH-1:0]] <= s_data;
    end

    always @(posedge s_clk) begin
        if (s_rst) begin
            wr_bin  <= 0;
            wr_gray <= 0;
        end else if (write) begin
            wr_bin  <= wr_next;
            wr_gray <= wr_next ^ (wr_next >> 1);
        end
    end

    always @(posedge m_clk) begin
        if (read)
            m_data <= mem[rd_bin[ADDR_WIDTH-1:0]];
    end

    always @(posedge m_clk) begin
        if (m_rst) begin
            rd_bin  <= 0;
            rd_gray <= 0;
            m_valid <= 1'b0;
        end else begin
            if (read) begin
                rd_bin  <= rd_next;
                rd_gray <= rd_next ^ (rd_next >> 1);
            end
            m_valid <= read || (m_valid && !m_ready);
        end
    end

endmodule

`resetall
