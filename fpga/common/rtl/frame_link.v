// Requests and answers in frames over a line of bytes, one at a time.
//
//   A5  SEQ  OP  LEN  PAYLOAD (LEN bytes)  CRC, high byte first
//
// The CRC is CRC-16/IBM-3740 of all between A5 and itself. An answer has the SEQ of its request, so
// that a late one is known. A request whose CRC is wrong is answered with OP FF and the byte 01, and
// is not shown to the design behind; one that stops in the middle for 2**GAP_BITS cycles is
// forgotten, so that whatever noise does to a line, a pause of that length makes it work again.

`resetall
`default_nettype none

module frame_link #(
    parameter GAP_BITS = 18
) (
    input  wire       clk,
    input  wire       rst,

    // Bytes from the line and to it
    input  wire [7:0] rx_data,
    input  wire       rx_valid,
    output wire       rx_ready,
    output wire [7:0] tx_data,
    output wire       tx_valid,
    input  wire       tx_ready,

    // A request; it stays until the head of its answer is taken. Payload not read is dropped then.
    output wire       q_valid,
    output wire [7:0] q_op,
    output wire [7:0] q_len,
    output wire [7:0] p_data,
    output wire       p_valid,
    input  wire       p_ready,

    // The answer: its head, then `a_len` bytes
    input  wire [7:0] a_op,
    input  wire [7:0] a_len,
    input  wire       a_valid,
    output wire       a_ready,
    input  wire [7:0] d_data,
    input  wire       d_valid,
    output wire       d_ready
);

    localparam [7:0] MARK    = 8'hA5,
                     REFUSED = 8'hFF,
                     BAD_CRC = 8'h01;

    localparam [3:0] HUNT   = 4'd0,
                     HEAD   = 4'd1,
                     BODY   = 4'd2,
                     TAIL   = 4'd3,
                     CHECK  = 4'd4,
                     ASK    = 4'd5,
                     A_MARK = 4'd6,
                     A_HEAD = 4'd7,
                     A_BODY = 4'd8,
                     A_TAIL = 4'd9;

    reg [3:0]          state;
    reg [7:0]          left;   // bytes of this part that are left, less one
    reg [7:0]          seq;    // the head: three bytes that move up as they come and as they go
    reg [7:0]          op;
    reg [7:0]          len;
    reg                bad;    // the answer is ours
    reg [GAP_BITS-1:0] gap;

    wire        got = rx_valid && rx_ready;
    wire        put = tx_valid && tx_ready;
    wire [15:0] check;
    wire        stored_valid;

    assign rx_ready = (state == HUNT || state == HEAD || state == BODY || state == TAIL);
    assign tx_valid = (state == A_MARK || state == A_HEAD || state == A_TAIL)
                   || (state == A_BODY && (bad || d_valid));
    assign tx_data  = (state == A_MARK) ? MARK
                    : (state == A_HEAD) ? seq
                    : (state == A_TAIL) ? (left[0] ? check[15:8] : check[7:0])
                    : bad               ? BAD_CRC
                    :                     d_data;

    assign q_valid  = (state == ASK);
    assign q_op     = op;
    assign q_len    = len;
    assign p_valid  = stored_valid && (state == ASK || state == A_MARK
                                    || state == A_HEAD || state == A_BODY);
    assign a_ready  = (state == ASK);
    assign d_ready  = (state == A_BODY) && !bad && tx_ready;

    crc #(.WIDTH(16), .DATA_WIDTH(8), .POLY(16'h1021), .INIT(16'hFFFF), .XOROUT(16'h0000),
          .REFIN(0), .REFOUT(0)) sum (
        .clk(clk), .rst(rst),
        .clear(state == HUNT || state == A_MARK),
        .s_valid((got && state != HUNT) || (put && (state == A_HEAD || state == A_BODY))),
        .s_data(got ? rx_data : tx_data),
        .check(check));

    wire       stored_ready;  // 256 places: always
    wire [8:0] stored_level;

    sync_fifo #(.DATA_WIDTH(8), .ADDR_WIDTH(8)) store (
        .clk(clk), .rst(rst || state == HUNT),
        .s_data(rx_data), .s_valid(got && state == BODY), .s_ready(stored_ready),
        .m_data(p_data), .m_valid(stored_valid), .m_ready(p_ready && p_valid),
        .level(stored_level));

    wire unused = &{1'b0, stored_ready, stored_level};

    always @(posedge clk) begin
        if (rst) begin
            state <= HUNT;
            left  <= 0;
            seq   <= 0;
            op    <= 0;
            len   <= 0;
            bad   <= 1'b0;
            gap   <= 0;
        end else begin
            gap <= (got || state == HUNT) ? {GAP_BITS{1'b0}} : gap + 1'b1;
            if (got || put)
                left <= left - 1'b1;

            case (state)
                HUNT: if (got && rx_data == MARK) begin
                    state <= HEAD;
                    left  <= 8'd2;
                end

                HEAD: if (got) begin
                    seq <= op;
                    op  <= len;
                    len <= rx_data;
                    if (left == 0) begin
                        state <= (rx_data == 0) ? TAIL : BODY;
                        left  <= (rx_data == 0) ? 8'd1 : rx_data - 1'b1;
                    end
                end

                BODY: if (got && left == 0) begin
                    state <= TAIL;
                    left  <= 8'd1;
                end

                TAIL: if (got && left == 0)
                    state <= CHECK;

                // A message with its CRC behind it has the CRC zero.
                CHECK: begin
                    bad <= (check != 0);
                    if (check == 0) begin
                        state <= ASK;
                    end else begin
                        state <= A_MARK;
                        op    <= REFUSED;
                        len   <= 8'd1;
                    end
                end

                ASK: if (a_valid) begin
                    state <= A_MARK;
                    op    <= a_op;
                    len   <= a_len;
                end

                A_MARK: if (put) begin
                    state <= A_HEAD;
                    left  <= 8'd2;
                end

                A_HEAD: if (put) begin
                    seq <= op;
                    op  <= len;
                    if (left == 0) begin
                        state <= (len == 0) ? A_TAIL : A_BODY;
                        left  <= (len == 0) ? 8'd1 : len - 1'b1;
                    end
                end

                A_BODY: if (put && left == 0) begin
                    state <= A_TAIL;
                    left  <= 8'd1;
                end

                A_TAIL: if (put && left == 0)
                    state <= HUNT;

                default:
                    state <= HUNT;
            endcase

            if (&gap && (state == HEAD || state == BODY || state == TAIL) && !got)
                state <= HUNT;
        end
    end

endmodule

`resetall
