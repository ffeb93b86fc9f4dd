// Two flip-flops in a row: a level (or Gray code) from another clock.

`resetall
`default_nettype none

module sync_bits #(
    parameter WIDTH = 1,
    parameter [WIDTH-1:0] RESET = 0
) (
    input  wire             clk,
    input  wire             rst,
    input  wire [WIDTH-1:0] d,
    output reg  [WIDTH-1:0] q
);

    reg [WIDTH-1:0] meta;

    always @(posedge clk) begin
        if (rst) begin
            meta <= RESET;
            q    <= RESET;
        end else begin
            meta <= d;
            q    <= meta;
        end
    end

endmodule

`resetall
