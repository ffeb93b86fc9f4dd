`default_nettype none
module register (
    input  wire       clk,
    input  wire       rst,
    input  wire       en,
    input  wire [7:0] d,
    output reg  [7:0] q
);
  always @(posedge clk)
    if (rst) q <= 8'h00;
    else if (en) q <= d;
endmodule
`default_nettype wire
