// UART receiver: eight data bits from the lowest, each sampled once in its middle.
//
// The start bit is looked at again in its middle, so a glitch shorter than half a bit is no byte. A
// byte is given out in the middle of its stop bit, which leaves half a bit to wait for the next
// start bit of a sender whose clock is faster.

`resetall
`default_nettype none

module uart_rx (
    input  wire        clk,
    input  wire        rst,

    // Cycles of a bit, less one; at least 3
    input  wire [15:0] divisor,

    // The line
    input  wire        rxd,

    // Bytes out, for one cycle each; nobody can make the line wait
    output reg  [7:0]  m_data,
    output reg         m_valid,

    // The stop bit was low: wrong speed, or a break. The byte is not given out.
    output reg         frame_error
);

    wire       line;
    reg        line_before;
    reg [15:0] count;      // cycles left until the next sample
    reg [3:0]  bits;       // samples left; 0: waiting for a start bit
    reg [7:0]  shift;

    sync_bits #(.WIDTH(1), .RESET(1'b1)) sync (.clk(clk), .rst(rst), .d(rxd), .q(line));

    always @(posedge clk) begin
        if (rst) begin
            line_before <= 1'b1;
            count       <= 0;
            bits        <= 0;
            shift       <= 0;
            m_data      <= 0;
            m_valid     <= 1'b0;
            frame_error <= 1'b0;
        end else begin
            line_before <= line;
            m_valid     <= 1'b0;
            frame_error <= 1'b0;

            if (bits == 0) begin
                // An edge, not a level: after a break the line has to rise first.
                if (line_before && !line) begin
                    count <= divisor >> 1;
                    bits  <= 4'd10;
                end
            end else if (count != 0) begin
                count <= count - 1'b1;
            end else begin
                count <= divisor;
                bits  <= bits - 1'b1;
                if (bits == 4'd10) begin
                    if (line)
                        bits <= 0;      // a glitch
                end else if (bits != 4'd1) begin
                    shift <= {line, shift[7:1]};
                end else begin
                    m_data      <= shift;
                    m_valid     <= line;
                    frame_error <= !line;
                end
            end
        end
    end

endmodule

`resetall
