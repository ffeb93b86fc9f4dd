// Pulse-width modulation: CHANNELS outputs on one counter.
//
// A period has `period` + 1 cycles; output i is high for the first `duty`[i] of them, so duty 0 is
// always low and any duty above `period` is always high. Both inputs are taken over at the end of
// a period only: an output never shows a pulse of mixed old and new settings.

`resetall
`default_nettype none

module pwm #(
    parameter WIDTH    = 8,
    parameter CHANNELS = 2
) (
    input  wire                      clk,
    input  wire                      rst,

    // Settings
    input  wire                      enable,
    input  wire [WIDTH-1:0]          period,
    input  wire [CHANNELS*WIDTH-1:0] duty,

    // Outputs, and a pulse in the first cycle of each period
    output reg  [CHANNELS-1:0]       out,
    output reg                       start
);

    reg                      running;
    reg [WIDTH-1:0]          count;
    reg [WIDTH-1:0]          period_now;
    reg [CHANNELS*WIDTH-1:0] duty_now;

    wire last = !running || (count == period_now);

    integer i;

    always @(posedge clk) begin
        if (rst) begin
            running    <= 1'b0;
            count      <= 0;
            period_now <= 0;
            duty_now   <= 0;
            out        <= 0;
            start      <= 1'b0;
        end else begin
            start <= last && enable;
            if (last) begin
                running    <= enable;
                count      <= 0;
                period_now <= period;
                duty_now   <= duty;
                for (i = 0; i < CHANNELS; i = i + 1)
                    out[i] <= enable && (duty[i*WIDTH +: WIDTH] != 0);
            end else begin
                count <= count + 1'b1;
                // The cycle to come has number count + 1.
                for (i = 0; i < CHANNELS; i = i + 1)
                    out[i] <= duty_now[i*WIDTH +: WIDTH] > count + 1'b1;
            end
        end
    end

endmodule

`resetall
