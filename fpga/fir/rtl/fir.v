// FIR filter, TAPS products one after another on one multiplier: y[n] = sum c[k] * x[n-k].
//
// Exact: the output has room for the largest sum, nothing is rounded. After reset the samples
// before the first count as zero. Coefficients are written before use, while no sample is in work.

`resetall
`default_nettype none

module fir #(
    parameter TAPS       = 8,
    parameter INDEX_BITS = 3,  // of a tap: the smallest with 2**INDEX_BITS >= TAPS
    parameter DATA_WIDTH = 16,
    parameter COEF_WIDTH = 16
) (
    input  wire                                               clk,
    input  wire                                               rst,

    // Coefficients
    input  wire                                               coef_write,
    input  wire [INDEX_BITS-1:0]                              coef_index,
    input  wire signed [COEF_WIDTH-1:0]                       coef_data,

    // Samples in
    input  wire signed [DATA_WIDTH-1:0]                       s_data,
    input  wire                                               s_valid,
    output wire                                               s_ready,

    // Results out
    output wire signed [DATA_WIDTH+COEF_WIDTH+INDEX_BITS-1:0] m_data,
    output reg                                                m_valid,
    input  wire                                               m_ready
);

    localparam PRODUCT_WIDTH = DATA_WIDTH + COEF_WIDTH;
    localparam [31:0] TOP = TAPS - 1;
    localparam [INDEX_BITS-1:0] LAST = TOP[INDEX_BITS-1:0];

    reg signed [COEF_WIDTH-1:0] coefs   [0:TAPS-1];
    reg signed [DATA_WIDTH-1:0] samples [0:TAPS-1];

    reg [INDEX_BITS-1:0] newest;     // where the last sample lies
    reg [INDEX_BITS-1:0] oldest_tap; // highest tap that has a sample
    reg                  any;        // there was a sample

    // The sum is a pipeline of three steps: read, multiply, add. `work` says which are in use.
    reg                                           reading;
    reg [2:1]                                     work;
    reg [INDEX_BITS-1:0]                          tap;
    reg [INDEX_BITS-1:0]                          place;
    reg signed [COEF_WIDTH-1:0]                   coef;
    reg signed [DATA_WIDTH-1:0]                   sample;
    reg signed [PRODUCT_WIDTH-1:0]                product;
    reg signed [PRODUCT_WIDTH+INDEX_BITS-1:0]     sum;

    wire [INDEX_BITS-1:0] next_place = (newest == LAST) ? {INDEX_BITS{1'b0}} : newest + 1'b1;

    wire busy = reading || (work != 0) || m_valid;
    wire take = s_valid && s_ready;

    assign s_ready = !busy;
    assign m_data  = sum;

    always @(posedge clk) begin
        if (coef_write)
            coefs[coef_index] <= coef_data;
        if (take)
            samples[next_place] <= s_data;
        coef    <= coefs[tap];
        sample  <= samples[place];
        product <= coef * sample;
    end

    always @(posedge clk) begin
        if (rst) begin
            newest     <= 0;
            oldest_tap <= 0;
            any        <= 1'b0;
            reading    <= 1'b0;
            work       <= 0;
            tap        <= 0;
            place      <= 0;
            sum        <= 0;
            m_valid    <= 1'b0;
        end else begin
            if (m_ready)
                m_valid <= 1'b0;

            work <= {work[1], reading};
            if (take) begin
                newest  <= next_place;
                any     <= 1'b1;
                reading <= 1'b1;
                tap     <= 0;
                place   <= next_place;
                sum     <= 0;
                if (any && oldest_tap != LAST)
                    oldest_tap <= oldest_tap + 1'b1;
            end else if (reading) begin
                tap     <= tap + 1'b1;
                place   <= (place == 0) ? LAST : place - 1'b1;
                reading <= (tap != oldest_tap);
            end
            if (work[2])
                sum <= sum + {{INDEX_BITS{product[PRODUCT_WIDTH-1]}}, product};
            if (work[2] && !work[1])
                m_valid <= 1'b1;
        end
    end

endmodule

`resetall
