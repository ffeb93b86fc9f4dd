// Synchronous FIFO, first word falls through.
//
// The memory has a registered read port, so that it maps to block RAM; the word at the head waits
// in an output register. Capacity: 2**ADDR_WIDTH words in the memory and one in the register.

`resetall
`default_nettype none

module sync_fifo #(
    parameter DATA_WIDTH = 8,
    parameter ADDR_WIDTH = 4
) (
    input  wire                  clk,
    input  wire                  rst,

    // Words in
    input  wire [DATA_WIDTH-1:0] s_data,
    input  wire                  s_valid,
    output wire                  s_ready,

    // Words out
    output reg  [DATA_WIDTH-1:0] m_data,
    output reg                   m_valid,
    input  wire                  m_ready,

    // Words held, the one at the output included
    output wire [ADDR_WIDTH:0]   level
);

    reg [DATA_WIDTH-1:0] mem [0:(1 << ADDR_WIDTH)-1];

    // One bit more than an address: equal pointers mean empty, equal but for that bit mean full.
    reg [ADDR_WIDTH:0] wr_ptr;
    reg [ADDR_WIDTH:0] rd_ptr;

    wire [ADDR_WIDTH:0] stored = wr_ptr - rd_ptr;

    wire write = s_valid && s_ready;
    wire read  = (stored != 0) && (!m_valid || m_ready);

    assign s_ready = !stored[ADDR_WIDTH];
    assign level   = stored + {{ADDR_WIDTH{1'b0}}, m_valid};

    always @(posedge clk) begin
        if (write)
            mem[wr_ptr[ADDR_WIDTH-1:0]] <= s_data;
        if (read)
            m_data <= mem[rd_ptr[ADDR_WIDTH-1:0]];
    end

    always @(posedge clk) begin
        if (rst) begin
            wr_ptr  <= 0;
            rd_ptr  <= 0;
            m_valid <= 1'b0;
        end else begin
            if (write)
                wr_ptr <= wr_ptr + 1'b1;
            if (read)
                rd_ptr <= rd_ptr + 1'b1;
            m_valid <= read || (m_valid && !m_ready);
        end
    end

endmodule

`resetall
