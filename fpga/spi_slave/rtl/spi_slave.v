// SPI slave: all four modes, eight bits from the highest, sampled with the system's clock.
//
// The lines pass two flip-flops, so an edge is seen 3 cycles late and `miso` follows in the 4th: half
// a period of the serial clock is at least 5 cycles. A word to send is taken when the master samples
// its first bit; where there is none then, ones are sent.

`resetall
`default_nettype none

module spi_slave (
    input  wire       clk,
    input  wire       rst,

    // Mode; to be changed while chip select is high
    input  wire       cpol,
    input  wire       cpha,

    // Words to send
    input  wire [7:0] s_data,
    input  wire       s_valid,
    output wire       s_ready,

    // Words received; the first one of a transfer is marked
    output reg  [7:0] m_data,
    output reg        m_first,
    output reg        m_valid,
    input  wire       m_ready,

    // Pulses: a received word that found no room, a word sent that was not there, a word that chip
    // select cut short
    output reg        overrun,
    output reg        underrun,
    output reg        cut,

    // The lines; `miso` is to be driven while `miso_enable` is high
    input  wire       sclk,
    input  wire       cs_n,
    input  wire       mosi,
    output reg        miso,
    output wire       miso_enable
);

    wire       cs_now, sclk_now, mosi_now;
    reg        cs_before, sclk_before;
    reg [2:0]  bits;     // bits of this word so far
    reg [6:0]  tx;
    reg [6:0]  rx;
    reg        loaded;   // the word on its way out is one of `s_data`
    reg        first;

    sync_bits #(.WIDTH(3), .RESET(3'b100)) sync (
        .clk(clk), .rst(rst), .d({cs_n, sclk, mosi}), .q({cs_now, sclk_now, mosi_now}));

    wire       selected = !cs_now && !cs_before;
    wire       leading  = selected && sclk_before == cpol && sclk_now != cpol;
    wire       trailing = selected && sclk_before != cpol && sclk_now == cpol;
    wire       sample   = cpha ? trailing : leading;
    wire       change   = cpha ? leading : trailing;
    wire       falls    = !cs_now && cs_before;
    wire       begins   = (falls && !cpha) || (change && bits == 0);
    wire [7:0] word     = s_valid ? s_data : 8'hFF;

    assign s_ready     = sample && bits == 0 && loaded;
    assign miso_enable = !cs_n;

    always @(posedge clk) begin
        if (rst) begin
            cs_before   <= 1'b1;
            sclk_before <= 1'b0;
            bits        <= 0;
            tx          <= 0;
            rx          <= 0;
            loaded      <= 1'b0;
            first       <= 1'b1;
            m_data      <= 0;
            m_first     <= 1'b0;
            m_valid     <= 1'b0;
            overrun     <= 1'b0;
            underrun    <= 1'b0;
            cut         <= 1'b0;
            miso        <= 1'b1;
        end else begin
            cs_before   <= cs_now;
            sclk_before <= sclk_now;
            overrun     <= 1'b0;
            underrun    <= sample && bits == 0 && !loaded;
            cut         <= cs_now && bits != 0;
            if (m_ready)
                m_valid <= 1'b0;

            if (begins) begin
                miso   <= word[7];
                tx     <= word[6:0];
                loaded <= s_valid;
            end else if (change) begin
                miso <= tx[6];
                tx   <= {tx[5:0], 1'b1};
            end

            if (cs_now) begin
                bits  <= 0;
                first <= 1'b1;
            end else if (sample) begin
                bits <= bits + 1'b1;
                rx   <= {rx[5:0], mosi_now};
                if (bits == 3'd7) begin
                    first <= 1'b0;
                    if (m_valid && !m_ready) begin
                        overrun <= 1'b1;
                    end else begin
                        m_data  <= {rx, mosi_now};
                        m_first <= first;
                        m_valid <= 1'b1;
                    end
                end
            end
        end
    end

endmodule

`resetall
