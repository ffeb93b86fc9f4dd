// One cell of the array: adds up products of what passes, A to the right and B downwards.

`resetall
`default_nettype none

module matmul_pe #(
    parameter DSP = 1  // 0: the product is made of logic cells, whatever multipliers there are
) (
    input  wire               clk,
    input  wire               rst,

    input  wire               enable,  // nothing moves without it

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

    wire signed [15:0] product;

    generate
        if (DSP != 0) begin : block
            assign product = a_in * b_in;
        end else begin : cells
            // Written as sums, in which yosys sees no product that a block could make.
            wire signed [15:0] part [0:7];
            genvar i;
            for (i = 0; i < 8; i = i + 1) begin : row
                assign part[i] = b_in[i] ? $signed({{8{a_in[7]}}, a_in}) <<< i : 16'sd0;
            end
            assign product = ((part[0] + part[1]) + (part[2] + part[3]))
                           + ((part[4] + part[5]) + (part[6] - part[7]));
        end
    endgenerate

    always @(posedge clk) begin
        if (rst) begin
            a_out <= 0;
            b_out <= 0;
            sum   <= 0;
        end else if (enable) begin
            a_out <= a_in;
            b_out <= b_in;
            sum   <= shift ? sum_in : sum + {{16{product[15]}}, product};
        end
    end

endmodule

`resetall
