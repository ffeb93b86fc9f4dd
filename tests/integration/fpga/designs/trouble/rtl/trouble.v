`timescale 1ns / 1ns
module trouble (
    input wire clk,
    input wire die,
    input wire leave,
    input wire spin
);
  reg loop = 1'b0;
  always @(posedge die) $fatal(1, "the design says no");
  always @(posedge leave) $finish;
  always @(posedge spin) begin
    while (1) loop = ~loop;
  end
endmodule
