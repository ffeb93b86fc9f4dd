// A byte, some cycles later; zero cycles is a wire.

`resetall
`default_nettype none

module matmul_delay #(
    parameter CYCLES = 1
) (
    input  wire       clk,
    input  wire       rst,
    input  wire [7:0] d,
    output wire [7:0] q
);

    generate
        if (CYCLES == 0) begin : none
            assign q = d;

            wire [1:0] unused = {clk, rst};
        end else begin : some
            reg [7:0] line [0:CYCLES-1];
            integer i;

            always @(posedge clk) begin
                for (i = 0; i < CYCLES; i = i + 1) begin
                    if (rst)
                        line[i] <= 0;
                    else
                        line[i] <= (i == 0) ? d : line[(i == 0) ? 0 : i - 1];
                end
            end

            assign q = line[CYCLES-1];
        end
    endgenerate

endmodule

`resetall
