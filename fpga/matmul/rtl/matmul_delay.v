// A byte, some cycles later; zero cycles is a wire.

`resetall
`default_nettype none

module matmul_delay #(
    parameter CYCLES = 1
) (
    input  wire       clk,
    input  wire       rst,
    input  wire       enable,
    input  wire [7:0] d,
    output wire [7:0] q
);

    generate
        if (CYCLES == 0) begin : none
            assign q = d;

            wire [2:0] unused = {clk, rst, enable};
        end else begin : some
            reg [8*CYCLES-1:0] line;
            integer i;

            always @(posedge clk) begin
                if (rst)
                    line <= 0;
                else if (enable) begin
                    line[7:0] <= d;
                    for (i = 1; i < CYCLES; i = i + 1)
                        line[8*i +: 8] <= line[8*(i-1) +: 8];
                end
            end

            assign q = line[8*CYCLES-1 -: 8];
        end
    endgenerate

endmodule

`resetall
