`default_nettype none
`include "step.vh"
module counter #(
    parameter WIDTH = 8
) (
    input  wire             clk,
    input  wire             rst,
    input  wire             en,
    output reg  [WIDTH-1:0] q
);
  always @(posedge clk)
    if (rst) q <= {WIDTH{1'b0}};
    else if (en) q <= q + `STEP;
endmodule
`default_nettype wire
