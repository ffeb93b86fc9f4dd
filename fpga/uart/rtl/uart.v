// UART with a FIFO in each direction: 8 data bits, no parity, one stop bit.

`resetall
`default_nettype none

module uart #(
    parameter FIFO_ADDR_WIDTH = 4
) (
    input  wire                     clk,
    input  wire                     rst,

    // Cycles of a bit, less one; at least 3. To be changed while both lines are idle.
    input  wire [15:0]              divisor,

    // Bytes to send
    input  wire [7:0]               s_data,
    input  wire                     s_valid,
    output wire                     s_ready,

    // Bytes received
    output wire [7:0]               m_data,
    output wire                     m_valid,
    input  wire                     m_ready,

    // State: bytes in the FIFOs; pulses of one cycle for a lost byte and for a low stop bit
    output wire [FIFO_ADDR_WIDTH:0] tx_level,
    output wire [FIFO_ADDR_WIDTH:0] rx_level,
    output wire                     overrun,
    output wire                     frame_error,

    // The lines
    input  wire                     rxd,
    output wire                     txd
);

    wire [7:0] tx_data;
    wire       tx_valid;
    wire       tx_ready;
    wire [7:0] rx_data;
    wire       rx_valid;
    wire       rx_ready;

    sync_fifo #(.DATA_WIDTH(8), .ADDR_WIDTH(FIFO_ADDR_WIDTH)) tx_fifo (
        .clk(clk), .rst(rst),
        .s_data(s_data), .s_valid(s_valid), .s_ready(s_ready),
        .m_data(tx_data), .m_valid(tx_valid), .m_ready(tx_ready),
        .level(tx_level));

    uart_tx tx (
        .clk(clk), .rst(rst), .divisor(divisor),
        .s_data(tx_data), .s_valid(tx_valid), .s_ready(tx_ready),
        .txd(txd));

    uart_rx rx (
        .clk(clk), .rst(rst), .divisor(divisor),
        .rxd(rxd),
        .m_data(rx_data), .m_valid(rx_valid), .frame_error(frame_error));

    sync_fifo #(.DATA_WIDTH(8), .ADDR_WIDTH(FIFO_ADDR_WIDTH)) rx_fifo (
        .clk(clk), .rst(rst),
        .s_data(rx_data), .s_valid(rx_valid), .s_ready(rx_ready),
        .m_data(m_data), .m_valid(m_valid), .m_ready(m_ready),
        .level(rx_level));

    // The byte is dropped: those already in the FIFO are older and stay whole.
    assign overrun = rx_valid && !rx_ready;

endmodule

`resetall
