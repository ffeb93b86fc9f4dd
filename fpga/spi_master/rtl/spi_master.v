// SPI master: all four modes, eight bits from the highest, chip select held over several words.
//
// `s_last` ends a transfer: chip select rises after that word. Each word sent gives a word received.
// Times are counted in half periods of the serial clock: one from chip select to the first edge,
// one from the last edge to chip select, and one between two transfers.

`resetall
`default_nettype none

module spi_master (
    input  wire        clk,
    input  wire        rst,

    // Mode, and cycles of half a period less one; read at the beginning of each transfer
    input  wire        cpol,
    input  wire        cpha,
    input  wire [7:0]  divisor,

    // Words to send
    input  wire [7:0]  s_data,
    input  wire        s_last,
    input  wire        s_valid,
    output wire        s_ready,

    // Words received
    output wire [7:0]  m_data,
    output reg         m_valid,
    input  wire        m_ready,

    // The lines
    output reg         cs_n,
    output reg         sclk,
    output reg         mosi,
    input  wire        miso
);

    localparam [2:0] IDLE  = 3'd0,
                     LEAD  = 3'd1,  // a word is loaded; half a period before its first edge
                     BITS  = 3'd2,
                     NEXT  = 3'd3,  // chip select is low; waiting for the next word
                     TRAIL = 3'd4,
                     GAP   = 3'd5;

    reg [2:0] state;
    reg       phase;        // CPHA of this transfer
    reg [7:0] divisor_now;
    reg [7:0] count;
    reg [3:0] edges;        // edges of the serial clock so far in this word; odd: clock is active
    reg       last;
    reg [7:0] tx;
    reg [7:0] rx;

    wire half = (count == 0);

    assign s_ready = (state == IDLE || state == NEXT) && !m_valid;
    assign m_data  = rx;

    always @(posedge clk) begin
        if (rst) begin
            state       <= IDLE;
            phase       <= 1'b0;
            divisor_now <= 0;
            count       <= 0;
            edges       <= 0;
            last        <= 1'b0;
            tx          <= 0;
            rx          <= 0;
            m_valid     <= 1'b0;
            cs_n        <= 1'b1;
            sclk        <= 1'b0;
            mosi        <= 1'b0;
        end else begin
            if (m_ready)
                m_valid <= 1'b0;
            count <= half ? divisor_now : count - 1'b1;

            case (state)
                IDLE, NEXT: begin
                    if (state == IDLE) begin
                        sclk        <= cpol;
                        phase       <= cpha;
                        divisor_now <= divisor;
                    end
                    if (s_valid && s_ready) begin
                        state <= LEAD;
                        cs_n  <= 1'b0;
                        count <= (state == IDLE) ? divisor : divisor_now;
                        edges <= 0;
                        last  <= s_last;
                        tx    <= s_data;
                        if (!(state == IDLE ? cpha : phase)) begin
                            mosi <= s_data[7];
                            tx   <= {s_data[6:0], 1'b0};
                        end
                    end
                end

                LEAD, BITS: if (half) begin
                    state <= BITS;
                    sclk  <= !sclk;
                    edges <= edges + 1'b1;
                    if (edges[0] == phase) begin
                        rx <= {rx[6:0], miso};
                    end else if (edges != 4'd15) begin
                        mosi <= tx[7];
                        tx   <= {tx[6:0], 1'b0};
                    end
                    if (edges == 4'd15) begin
                        state   <= last ? TRAIL : NEXT;
                        m_valid <= 1'b1;
                    end
                end

                TRAIL: if (half) begin
                    state <= GAP;
                    cs_n  <= 1'b1;
                end

                GAP: if (half)
                    state <= IDLE;

                default:
                    state <= IDLE;
            endcase
        end
    end

endmodule

`resetall
