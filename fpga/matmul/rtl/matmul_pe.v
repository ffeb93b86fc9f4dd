// One cell of the array: adds up products of what passes, A to the right and B downwards.

`resetall
`default_nettype none

module matmul_pe (
    input  wire               clk,
    input  wire               rst,

    // Operands through the cell
    input  wire signed [7:0]  a_in,
    input  wire signed [7:0]  b_in,
    output reg  signed [7:0]  a_out,
    output reg  signed [7:0]  b_out,

    // Sums out: with `shift` the sums of all cells move one cell on
    input  wire               shift,
    input  wire signed [31:0] sum_in,
    output reg  signed [31:0] sum
);

    wire signed [15:0] product = a_in * b_in;

    always @(posedge clk) begin
        if (rst) begin
            a_out <= 0;
            b_out <= 0;
            sum   <= 0;
        end else begin
            a_out <= a_in;
            b_out <= b_in;
            sum   <= shift ? sum_in : sum + {{16{product[15]}}, product};
        end
    end

endmodule

`resetall
