// UART transmitter: one start bit, eight data bits from the lowest, one stop bit.

`resetall
`default_nettype none

module uart_tx (
    input  wire        clk,
    input  wire        rst,

    // Cycles of a bit, less one; read at the beginning of each frame
    input  wire [15:0] divisor,

    // Bytes in
    input  wire [7:0]  s_data,
    input  wire        s_valid,
    output wire        s_ready,

    // The line
    output reg         txd
);

    reg [15:0] divisor_now;
    reg [15:0] count;      // cycles left of this bit
    reg [8:0]  shift;      // what is still to send: data, then the stop bit
    reg [3:0]  bits;       // bits left, the one on the line included; 0: the line is idle

    assign s_ready = (bits == 0) || (bits == 1 && count == 0);

    always @(posedge clk) begin
        if (rst) begin
            divisor_now <= 0;
            count       <= 0;
            shift       <= 9'h1FF;
            bits        <= 0;
            txd         <= 1'b1;
        end else if (s_ready) begin
            if (s_valid) begin
                divisor_now <= divisor;
                count       <= divisor;
                shift       <= {1'b1, s_data};
                bits        <= 4'd10;
                txd         <= 1'b0;
            end else begin
                bits <= 0;
            end
        end else if (count == 0) begin
            count <= divisor_now;
            shift <= {1'b1, shift[8:1]};
            bits  <= bits - 1'b1;
            txd   <= shift[0];
        end else begin
            count <= count - 1'b1;
        end
    end

endmodule

`resetall
