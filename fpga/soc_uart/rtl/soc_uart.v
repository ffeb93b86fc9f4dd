// The state-of-charge estimator behind a serial line: requests and answers in frames (frame_link).
//
//   OP 0  identify  ->  80: "SC", version 1, 0
//   OP 1  settings  ->  81: nothing. Four bytes each: index, 0, value (see soc)
//   OP 2  samples   ->  82: estimates, one for each sample. A sample is current and voltage, 16 bits
//                       each; an estimate is 32 bits
//
// All numbers go low byte first. What is no such request changes nothing and is answered with FF and
// a reason: 02 unknown OP, 03 not a multiple of four bytes.

`resetall
`default_nettype none

module soc_uart #(
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
                     SETTINGS = 8'h01,
                     SAMPLES  = 8'h02,
                     REFUSED  = 8'hFF;

    localparam [7:0] UNKNOWN    = 8'h02,
                     BAD_LENGTH = 8'h03;

    localparam [2:0] IDLE   = 3'd0,
                     ANSWER = 3'd1,  // the head of the answer is offered
                     FILL   = 3'd2,  // four bytes of the request come
                     GIVE   = 3'd3,  // a sample is offered
                     WAIT   = 3'd4,
                     TELL   = 3'd5;  // bytes of the answer: `word`

    // From the line
    wire [7:0] rx_data, tx_data;
    wire       rx_valid, rx_ready, tx_valid, tx_ready;
    wire [7:0] q_op, q_len, p_data;
    wire       q_valid, p_valid, p_ready, a_ready, d_ready;

    reg [2:0]  state;
    reg [7:0]  bytes;   // payload that is left, or bytes of an answer that has none
    reg [1:0]  place;
    reg [31:0] word;
    reg [7:0]  a_op;
    reg [7:0]  a_len;
    reg        cfg_write;

    // The estimator
    wire        s_ready, m_valid;
    wire [31:0] m_charge;

    assign p_ready = (state == FILL);

    wire [4:0] rx_level, tx_level;
    wire       overrun, frame_error;
    wire       unused = &{1'b0, rx_level, tx_level, overrun, frame_error};

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
        .d_data(word[7:0]), .d_valid(state == TELL), .d_ready(d_ready));

    soc estimator (
        .clk(clk), .rst(rst),
        .cfg_write(cfg_write), .cfg_index(word[4:0]), .cfg_data(word[31:16]),
        .s_current(word[15:0]), .s_voltage(word[28:16]),
        .s_valid(state == GIVE), .s_ready(s_ready),
        .m_charge(m_charge), .m_valid(m_valid), .m_ready(state == WAIT));

    always @(posedge clk) begin
        if (rst) begin
            state     <= IDLE;
            bytes     <= 0;
            place     <= 0;
            word      <= 0;
            a_op      <= 0;
            a_len     <= 0;
            cfg_write <= 1'b0;
        end else begin
            cfg_write <= 1'b0;

            case (state)
                IDLE: if (q_valid) begin
                    state <= ANSWER;
                    place <= 0;
                    bytes <= q_len;
                    a_op  <= {1'b1, q_op[6:0]};
                    a_len <= 0;
                    if (q_op > SAMPLES || (q_op != IDENTIFY && q_len[1:0] != 0)) begin
                        a_op  <= REFUSED;
                        a_len <= 8'd1;
                        bytes <= 8'd1;
                        word  <= {24'd0, (q_op > SAMPLES) ? UNKNOWN : BAD_LENGTH};
                    end else if (q_op == IDENTIFY) begin
                        a_len <= 8'd4;
                        bytes <= 8'd4;
                        word  <= {8'd0, 8'd1, "C", "S"};
                    end else if (q_op == SETTINGS) begin
                        // Written before the answer begins: it means that they are in force.
                        state <= (q_len == 0) ? ANSWER : FILL;
                    end else begin
                        a_len <= q_len;
                    end
                end

                ANSWER: if (a_ready) begin
                    state <= (a_len == 0)                        ? IDLE
                           : (a_op == {1'b1, SAMPLES[6:0]})      ? FILL
                           :                                       TELL;
                end

                FILL: if (p_valid) begin
                    word  <= {p_data, word[31:8]};
                    place <= place + 1'b1;
                    bytes <= bytes - 1'b1;
                    if (place == 2'd3) begin
                        if (a_op == {1'b1, SAMPLES[6:0]}) begin
                            state <= GIVE;
                        end else begin
                            cfg_write <= 1'b1;
                            if (bytes == 8'd1)
                                state <= ANSWER;
                        end
                    end
                end

                GIVE: if (s_ready)
                    state <= WAIT;

                WAIT: if (m_valid) begin
                    state <= TELL;
                    word  <= m_charge;
                end

                // `place` is 0 before the first byte, whatever the answer.
                TELL: if (d_ready) begin
                    word  <= word >> 8;
                    place <= place + 1'b1;
                    if (a_op != {1'b1, SAMPLES[6:0]}) begin
                        bytes <= bytes - 1'b1;
                        if (bytes == 8'd1)
                            state <= IDLE;
                    end else if (place == 2'd3) begin
                        state <= (bytes != 0) ? FILL : IDLE;
                    end
                end

                default:
                    state <= IDLE;
            endcase
        end
    end

endmodule

`resetall
