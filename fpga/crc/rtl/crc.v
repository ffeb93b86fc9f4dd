// Cyclic redundancy check of a stream, DATA_WIDTH bits in a cycle.
//
// The parameters are those of the "Rocksoft" model (R. Williams, "A Painless Guide to CRC Error
// Detection Algorithms", 1993), in its notation: POLY without its top bit, INIT and XOROUT as the
// register and the result are written down, REFIN and REFOUT 0 or 1.

`resetall
`default_nettype none

module crc #(
    parameter             WIDTH      = 32,
    parameter             DATA_WIDTH = 8,
    parameter [WIDTH-1:0] POLY       = 32'h04C11DB7,
    parameter [WIDTH-1:0] INIT       = 32'hFFFFFFFF,
    parameter [WIDTH-1:0] XOROUT     = 32'hFFFFFFFF,
    parameter             REFIN      = 1,
    parameter             REFOUT     = 1
) (
    input  wire                  clk,
    input  wire                  rst,

    // Data in: `clear` starts a new message, and a word in the same cycle is its first
    input  wire                  clear,
    input  wire                  s_valid,
    input  wire [DATA_WIDTH-1:0] s_data,

    // The check of all words so far, one cycle after the last
    output wire [WIDTH-1:0]      check
);

    reg [WIDTH-1:0] state;

    // The register after one bit more.
    function [WIDTH-1:0] step(input [WIDTH-1:0] from, input one);
        step = (from << 1) ^ ((from[WIDTH-1] ^ one) ? POLY : {WIDTH{1'b0}});
    endfunction

    // The register after a word. Bytes go in order from the top; REFIN turns each byte around.
    function [WIDTH-1:0] word(input [WIDTH-1:0] from, input [DATA_WIDTH-1:0] data);
        integer i;
        begin
            word = from;
            for (i = 0; i < DATA_WIDTH; i = i + 1)
                word = step(word, REFIN != 0 ? data[DATA_WIDTH - 8 - (i / 8) * 8 + i % 8]
                                             : data[DATA_WIDTH - 1 - i]);
        end
    endfunction

    always @(posedge clk) begin
        if (rst)
            state <= INIT;
        else if (s_valid)
            state <= word(clear ? INIT : state, s_data);
        else if (clear)
            state <= INIT;
    end

    genvar g;
    generate
        for (g = 0; g < WIDTH; g = g + 1) begin : result
            assign check[g] = XOROUT[g] ^ (REFOUT != 0 ? state[WIDTH-1-g] : state[g]);
        end
    endgenerate

endmodule

`resetall
