`default_nettype none
module counter (
    input  wire       clk,
    output reg  [7:0] count = 0
);
  always @(posedge clk) count <= count + 1'b1;
endmodule
`default_nettype wire
