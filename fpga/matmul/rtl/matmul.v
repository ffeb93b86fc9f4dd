// Systolic matrix engine: C = A B, N by N cells, int8 in, int32 out.
//
// H. T. Kung, "Why systolic architectures?", IEEE Computer 15 (1982): row i of A enters i cycles
// late from the left, column j of B j cycles late from the top, so that A[i,k] and B[k,j] meet in
// cell (i,j), which keeps the sum. A is N x K and B is K x N with any K from 1 to 131071 (a sum of
// so many products of -128 by -128 still fits). Beat k brings column k of A and row k of B; the
// results come out row by row. In a cycle without a beat the array stands still.

`resetall
`default_nettype none

module matmul #(
    parameter N    = 4,
    parameter DSPS = 8   // cells whose product a DSP block may make; an iCE40 UP5K has 8 blocks
) (
    input  wire               clk,
    input  wire               rst,

    // Operands: element 0 in the lowest byte; `last` with the last beat of a product
    input  wire [8*N-1:0]     s_a,
    input  wire [8*N-1:0]     s_b,
    input  wire               s_last,
    input  wire               s_valid,
    output wire               s_ready,

    // Results, N * N words, row by row
    output wire signed [31:0] m_data,
    output wire               m_last,
    output wire               m_valid,
    input  wire               m_ready
);

    localparam [1:0] LOAD  = 2'd0,
                     FLUSH = 2'd1,  // the last beat is on its way to the last cell
                     OUT   = 2'd2;

    localparam [15:0] FLUSH_CYCLES = 2 * N - 1;
    localparam [15:0] WORDS        = N * N;

    reg [1:0]  state;
    reg [15:0] left;  // cycles of FLUSH or words of OUT that are left, less one

    wire take  = s_valid && s_ready;
    wire shift = m_valid && m_ready;
    wire run   = take || shift || (state == FLUSH);

    assign s_ready = (state == LOAD);
    assign m_valid = (state == OUT);
    assign m_last  = (left == 0);

    // Operands between cells: A has one column more than there are cells, B one row more.
    wire signed [7:0]  a   [0:N*(N+1)-1];
    wire signed [7:0]  b   [0:N*(N+1)-1];
    wire signed [31:0] sum [0:N*N];

    assign m_data   = sum[0];
    assign sum[N*N] = 0;

    genvar i, j;
    generate
        for (i = 0; i < N; i = i + 1) begin : edges
            matmul_delay #(.CYCLES(i)) delay_a (
                .clk(clk), .rst(rst), .enable(run),
                .d(take ? s_a[8*i +: 8] : 8'd0), .q(a[i*(N+1)]));
            matmul_delay #(.CYCLES(i)) delay_b (
                .clk(clk), .rst(rst), .enable(run),
                .d(take ? s_b[8*i +: 8] : 8'd0), .q(b[i]));
        end
        for (i = 0; i < N; i = i + 1) begin : row
            for (j = 0; j < N; j = j + 1) begin : col
                matmul_pe #(.DSP(i*N + j < DSPS ? 1 : 0)) pe (
                    .clk(clk), .rst(rst), .enable(run),
                    .a_in(a[i*(N+1) + j]), .a_out(a[i*(N+1) + j + 1]),
                    .b_in(b[i*N + j]),     .b_out(b[(i+1)*N + j]),
                    .shift(shift), .sum_in(sum[i*N + j + 1]), .sum(sum[i*N + j]));
            end
        end
    endgenerate

    always @(posedge clk) begin
        if (rst) begin
            state <= LOAD;
            left  <= 0;
        end else begin
            case (state)
                LOAD: if (take && s_last) begin
                    state <= FLUSH;
                    left  <= FLUSH_CYCLES - 1'b1;
                end

                FLUSH: begin
                    left <= left - 1'b1;
                    if (left == 0) begin
                        state <= OUT;
                        left  <= WORDS - 1'b1;
                    end
                end

                OUT: if (shift) begin
                    // The zeros that follow the sums leave the array clear for the next product.
                    left <= left - 1'b1;
                    if (left == 0)
                        state <= LOAD;
                end

                default:
                    state <= LOAD;
            endcase
        end
    end

endmodule

`resetall
