// I2C master (NXP UM10204, standard and fast mode): START, repeated START, STOP, bytes both ways.
//
// A command is any of START, one byte, STOP, in this order; each gives one answer. Between two
// commands that do not end with STOP the bus is held, with SCL low. A slave may stretch the clock,
// and another master may win the arbitration: then both lines are released, and the answer says so.
// It says so, too, if SCL is held low, or the bus is busy, for 2**LIMIT_BITS cycles.

`resetall
`default_nettype none

module i2c_master #(
    parameter LIMIT_BITS = 20
) (
    input  wire        clk,
    input  wire        rst,

    // Cycles of a quarter of a bit, less one; at least 3
    input  wire [15:0] divisor,

    // Commands; `s_nack` is what a byte that is read is answered with
    input  wire        s_start,
    input  wire        s_byte,
    input  wire        s_read,
    input  wire        s_stop,
    input  wire        s_nack,
    input  wire [7:0]  s_data,
    input  wire        s_valid,
    output wire        s_ready,

    // Answers: the byte that was read, whether the one that was written was not acknowledged, and
    // whether the bus was lost
    output reg  [7:0]  m_data,
    output reg         m_nack,
    output reg         m_lost,
    output reg         m_valid,
    input  wire        m_ready,

    // State: this master holds the bus; anybody does
    output reg         owner,
    output reg         busy,

    // The lines; 0 pulls down, 1 lets go
    input  wire        scl_i,
    output reg         scl_o,
    input  wire        sda_i,
    output reg         sda_o
);

    localparam [3:0] IDLE  = 4'd0,
                     FREE  = 4'd1,   // waits for a free bus
                     AGAIN = 4'd2,   // repeated START: SDA high while SCL is low
                     RISE  = 4'd3,   // SCL high
                     START = 4'd4,   // SDA low while SCL is high
                     HOLD  = 4'd5,   // SCL low: the bus is ours
                     SETUP = 4'd6,   // a bit on SDA, SCL low
                     LOW   = 4'd7,
                     HIGH  = 4'd8,   // SCL high
                     LATE  = 4'd9,
                     FALL  = 4'd10,  // STOP: SDA low while SCL is low
                     READY = 4'd11,  // SCL high
                     STOP  = 4'd12,  // SDA high while SCL is high
                     DONE  = 4'd13;

    reg [3:0]            state;
    reg [15:0]           count;     // cycles of this quarter that are left
    reg [LIMIT_BITS-1:0] waited;
    reg                  stop, byte_, read;
    reg                  lost;
    reg                  second;    // quarter of two
    reg [3:0]            bits;      // bits of the byte that are left, less one; 0 is the ACK
    reg [8:0]            shift;     // what is sent, from the top; a bit that the slave sends is 1
    reg [7:0]            got;       // what was read before the bit of now
    reg                  level;     // SDA while SCL was high

    wire scl, sda;
    reg  scl_before, sda_before;

    sync_bits #(.WIDTH(2), .RESET(2'b11)) sync (
        .clk(clk), .rst(rst), .d({scl_i, sda_i}), .q({scl, sda}));

    // The times of START and STOP are halves of a bit (UM10204, table 10): two quarters.
    wire half    = (state == FREE || state == AGAIN || state == RISE || state == START
                 || state == FALL || state == READY);
    wire quarter = (count == 0) && (second || !half);
    // The bit is ours and not the slave's: data that are written, the ACK of data that are read.
    wire ours    = read ? (bits == 0) : (bits != 0);
    wire [3:0] after_byte  = stop ? FALL : DONE;
    wire [3:0] after_start = byte_ ? SETUP : after_byte;

    assign s_ready = (state == IDLE) && !m_valid;

    always @(posedge clk) begin
        scl_before <= scl;
        sda_before <= sda;

        if (rst) begin
            state      <= IDLE;
            count      <= 0;
            waited     <= 0;
            second     <= 1'b0;
            stop       <= 1'b0;
            byte_      <= 1'b0;
            read       <= 1'b0;
            lost       <= 1'b0;
            bits       <= 0;
            shift      <= 0;
            got        <= 0;
            level      <= 1'b1;
            m_data     <= 0;
            m_nack     <= 1'b0;
            m_lost     <= 1'b0;
            m_valid    <= 1'b0;
            owner      <= 1'b0;
            busy       <= 1'b0;
            scl_o      <= 1'b1;
            sda_o      <= 1'b1;
            scl_before <= 1'b1;
            sda_before <= 1'b1;
        end else begin
            if (m_ready)
                m_valid <= 1'b0;

            // START and STOP, whoever makes them
            if (scl && scl_before && sda != sda_before)
                busy <= sda_before;

            count  <= (count == 0) ? divisor : count - 1'b1;
            if (count == 0)
                second <= half && !second;
            waited <= 0;

            case (state)
                IDLE: begin
                    count  <= divisor;
                    second <= 1'b0;
                    if (s_valid && s_ready) begin
                        stop   <= s_stop;
                        byte_  <= s_byte;
                        read   <= s_read;
                        bits   <= 4'd8;
                        shift  <= s_read ? {8'hFF, s_nack} : {s_data, 1'b1};
                        got    <= 0;
                        m_nack <= 1'b0;
                        if (s_start)
                            state <= owner ? AGAIN : FREE;
                        else if (owner)
                            state <= s_byte ? SETUP : s_stop ? FALL : DONE;
                        else begin
                            lost  <= 1'b1;
                            state <= DONE;
                        end
                    end
                end

                FREE: begin
                    waited <= waited + 1'b1;
                    if (busy || !scl || !sda) begin
                        count  <= divisor;
                        second <= 1'b0;
                    end else if (quarter) begin
                        state <= START;
                    end
                end

                AGAIN: begin
                    sda_o <= 1'b1;
                    if (quarter)
                        state <= RISE;
                end

                RISE: begin
                    scl_o <= 1'b1;
                    if (!scl) begin
                        count  <= divisor;
                        second <= 1'b0;
                        waited <= waited + 1'b1;
                    end else if (!sda) begin
                        lost <= 1'b1;       // somebody else sends a 0
                    end else if (quarter) begin
                        state <= START;
                    end
                end

                START: begin
                    sda_o <= 1'b0;
                    if (quarter)
                        state <= HOLD;
                end

                HOLD: begin
                    scl_o <= 1'b0;
                    owner <= 1'b1;
                    if (quarter)
                        state <= after_start;
                end

                SETUP: begin
                    scl_o <= 1'b0;
                    sda_o <= shift[8];
                    if (quarter)
                        state <= LOW;
                end

                LOW: if (quarter)
                    state <= HIGH;

                HIGH: begin
                    scl_o <= 1'b1;
                    if (!scl) begin
                        // It has not risen yet, or a slave stretches it.
                        count  <= divisor;
                        waited <= waited + 1'b1;
                    end else begin
                        level <= sda;
                        if (quarter)
                            state <= LATE;
                    end
                end

                LATE: begin
                    if (scl)
                        level <= sda;
                    // Another master whose clock is faster ends the high time (UM10204, 3.1.7).
                    if (quarter || !scl) begin
                        count <= divisor;
                        if (ours && shift[8] && !level) begin
                            lost <= 1'b1;
                        end else if (bits == 0) begin
                            scl_o  <= 1'b0;
                            m_nack <= !read && level;
                            m_data <= got;
                            state  <= after_byte;
                        end else begin
                            scl_o <= 1'b0;
                            got   <= {got[6:0], level};
                            shift <= {shift[7:0], 1'b1};
                            bits  <= bits - 1'b1;
                            state <= SETUP;
                        end
                    end
                end

                FALL: begin
                    scl_o <= 1'b0;
                    sda_o <= 1'b0;
                    if (quarter)
                        state <= READY;
                end

                READY: begin
                    scl_o <= 1'b1;
                    if (!scl) begin
                        count  <= divisor;
                        second <= 1'b0;
                        waited <= waited + 1'b1;
                    end else if (quarter) begin
                        state <= STOP;
                    end
                end

                STOP: begin
                    sda_o <= 1'b1;
                    owner <= 1'b0;
                    if (quarter)
                        state <= DONE;
                end

                DONE: begin
                    m_valid <= 1'b1;
                    m_lost  <= lost;
                    lost    <= 1'b0;
                    state   <= IDLE;
                end

                default:
                    state <= IDLE;
            endcase

            if ((lost && state != DONE) || &waited) begin
                lost   <= 1'b1;
                owner  <= 1'b0;
                scl_o  <= 1'b1;
                sda_o  <= 1'b1;
                second <= 1'b0;
                state  <= DONE;
            end
        end
    end

endmodule

`resetall
