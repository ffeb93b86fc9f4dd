`default_nettype none

module ticks (
    input  wire clk,
    output reg  q
);
    always @(posedge clk) q <= !q;
endmodule
