`default_nettype none
// Counts; the limit tells when it goes wrong.
module late (
    input  wire        clk,
    input  wire        rst,
    input  wire [31:0] limit,
    output reg  [31:0] count,
    output reg         wrong
);
    always @(posedge clk) begin
        count <= rst ? 32'd0 : count + 32'd1;
        wrong <= !rst && count == limit;
    end
endmodule
