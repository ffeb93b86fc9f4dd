`default_nettype none
module blink #(
    parameter WIDTH = 4
) (
    input  wire clk,
    input  wire rst,
    output wire led
);
  reg [WIDTH-1:0] count;
  assign led = count[WIDTH-1];
  always @(posedge clk)
    if (rst) count <= 0;
    else count <= count + 1'b1;
endmodule
`default_nettype wire
