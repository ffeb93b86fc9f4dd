// The matrix engine behind a serial line: requests and answers in frames (see frame_link).
//
//   OP 0  identify     ->  80: "MM", version 1, N
//   OP 1  beats        ->  81: nothing; the product goes on
//   OP 2  last beats   ->  82: N * N sums, 32 bits each, row by row, low byte first
//   OP 3  clear        ->  83: nothing; what was begun is forgotten
//
// A beat is column k of A and row k of B, N bytes each. What is no such request is answered with FF
// and a reason: 02 unknown OP, 03 not a whole number of beats, or none. That forgets what was begun,
// too, so that a sender begins the product again, whatever happened.

`resetall
`default_nettype none

module matmul_uart #(
    parameter        N        = 4,        // at most 7: the answer to OP 2 has to fit into a frame
    parameter        DSPS     = 8,        // cells whose product may be made by a DSP block
    parameter [15:0] DIVISOR  = 16'd103,  // cycles of a bit, less one: 115200 baud at 12 MHz
    parameter        GAP_BITS = 18
) (
    input  wire clk,
    input  wire rst,

    // The lines
    input  wire rxd,
    output wire txd
);

    localparam [7:0] IDENTIFY = 8'h00,
                     BEATS    = 8'h01,
                     LAST     = 8'h02,
                     CLEAR    = 8'h03,
                     REFUSED  = 8'hFF;

    localparam [7:0] UNKNOWN    = 8'h02,
                     BAD_LENGTH = 8'h03;

    localparam [7:0] BEAT_BYTES = 2 * N;
    localparam [7:0] SUM_BYTES  = 4 * N * N;
    localparam [7:0] SIDE       = N;

    localparam [2:0] IDLE   = 3'd0,
                     FILL   = 3'd1,  // bytes of a beat come
                     GIVE   = 3'd2,  // the beat is offered to the engine
                     ANSWER = 3'd3,  // the head of the answer is offered
                     TELL   = 3'd4,  // bytes of the answer: `told`
                     SUMS   = 3'd5;  // bytes of the answer: the engine's

    // From the line
    wire [7:0] rx_data, tx_data;
    wire       rx_valid, rx_ready, tx_valid, tx_ready;
    wire [7:0] q_op, q_len, p_data;
    wire       q_valid, p_valid, p_ready, a_ready, d_ready;

    reg [2:0]         state;
    reg [7:0]         bytes;      // payload that is left
    reg [7:0]         fill;       // bytes of this beat that are left, less one
    reg [16*N-1:0]    beat;
    reg [7:0]         a_op;
    reg [7:0]         a_len;
    reg [31:0]        told;
    reg [7:0]         tell;       // bytes of the answer that are left
    reg [1:0]         place;      // byte of the engine's sum
    reg               clear;

    // The engine
    wire              s_ready, m_valid, m_last;
    wire signed [31:0] m_data;
    wire              given   = (state == GIVE) && s_ready;
    wire              d_valid = (state == TELL) || (state == SUMS && m_valid);
    wire [7:0]        d_data  = (state == TELL) ? told[7:0] : m_data[8*place +: 8];
    wire              said    = d_valid && d_ready;

    assign p_ready = (state == FILL);

    wire [4:0] rx_level, tx_level;
    wire       overrun, frame_error;
    wire       unused = &{1'b0, rx_level, tx_level, overrun, frame_error, m_last};

    uart #(.FIFO_ADDR_WIDTH(4)) line (
        .clk(clk), .rst(rst), .divisor(DIVISOR),
        .s_data(tx_data), .s_valid(tx_valid), .s_ready(tx_ready),
        .m_data(rx_data), .m_valid(rx_valid), .m_ready(rx_ready),
        .tx_level(tx_level), .rx_level(rx_level), .overrun(overrun), .frame_error(frame_error),
        .rxd(rxd), .txd(txd));

    frame_link #(.GAP_BITS(GAP_BITS)) link (
        .clk(clk), .rst(rst),
        .rx_data(rx_data), .rx_valid(rx_valid), .rx_ready(rx_ready),
        .tx_data(tx_data), .tx_valid(tx_valid), .tx_ready(tx_ready),
        .q_valid(q_valid), .q_op(q_op), .q_len(q_len),
        .p_data(p_data), .p_valid(p_valid), .p_ready(p_ready),
        .a_op(a_op), .a_len(a_len), .a_valid(state == ANSWER), .a_ready(a_ready),
        .d_data(d_data), .d_valid(d_valid), .d_ready(d_ready));

    matmul #(.N(N), .DSPS(DSPS)) engine (
        .clk(clk), .rst(rst || clear),
        .s_a(beat[0 +: 8*N]), .s_b(beat[8*N +: 8*N]),
        .s_last(a_op == {1'b1, LAST[6:0]} && bytes == 0),
        .s_valid(state == GIVE), .s_ready(s_ready),
        .m_data(m_data), .m_last(m_last), .m_valid(m_valid),
        .m_ready(state == SUMS && place == 2'd3 && d_ready));

    always @(posedge clk) begin
        if (rst) begin
            state <= IDLE;
            bytes <= 0;
            fill  <= 0;
            beat  <= 0;
            a_op  <= 0;
            a_len <= 0;
            told  <= 0;
            tell  <= 0;
            place <= 0;
            clear <= 1'b0;
        end else begin
            clear <= 1'b0;

            case (state)
                IDLE: if (q_valid) begin
                    state <= ANSWER;
                    a_op  <= {1'b1, q_op[6:0]};
                    a_len <= 0;
                    bytes <= q_len;
                    fill  <= BEAT_BYTES - 1'b1;
                    place <= 0;
                    case (q_op)
                        IDENTIFY: begin
                            told  <= {SIDE, 8'd1, "M", "M"};
                            a_len <= 8'd4;
                        end
                        BEATS, LAST: begin
                            state <= FILL;
                            if (q_len == 0) begin
                                state <= ANSWER;
                                a_op  <= REFUSED;
                                a_len <= 8'd1;
                                told  <= {24'd0, BAD_LENGTH};
                                clear <= 1'b1;
                            end
                        end
                        CLEAR:
                            clear <= 1'b1;
                        default: begin
                            a_op  <= REFUSED;
                            a_len <= 8'd1;
                            told  <= {24'd0, UNKNOWN};
                            clear <= 1'b1;
                        end
                    endcase
                end

                FILL: if (p_valid) begin
                    beat  <= {p_data, beat[16*N-1:8]};
                    bytes <= bytes - 1'b1;
                    fill  <= fill - 1'b1;
                    if (fill == 0) begin
                        state <= GIVE;
                        fill  <= BEAT_BYTES - 1'b1;
                    end else if (bytes == 8'd1) begin
                        state <= ANSWER;
                        a_op  <= REFUSED;
                        a_len <= 8'd1;
                        told  <= {24'd0, BAD_LENGTH};
                        clear <= 1'b1;
                    end
                end

                GIVE: if (given) begin
                    state <= (bytes != 0) ? FILL : ANSWER;
                    if (bytes == 0 && a_op == {1'b1, LAST[6:0]})
                        a_len <= SUM_BYTES;
                end

                ANSWER: if (a_ready) begin
                    state <= (a_len == 0)                      ? IDLE
                           : (a_op == {1'b1, LAST[6:0]})       ? SUMS
                           :                                     TELL;
                    tell  <= a_len;
                end

                TELL, SUMS: if (said) begin
                    told  <= told >> 8;
                    place <= place + 1'b1;
                    tell  <= tell - 1'b1;
                    if (tell == 8'd1)
                        state <= IDLE;
                end

                default:
                    state <= IDLE;
            endcase
        end
    end

endmodule

`resetall
