// What `labctl fpga bridge uart` runs: the UART, and each byte that it receives sent back.

`resetall
`default_nettype none

module uart_echo #(
    parameter FIFO_ADDR_WIDTH = 4
) (
    input  wire        clk,
    input  wire        rst,
    input  wire [15:0] divisor,

    // The lines
    input  wire        rxd,
    output wire        txd
);

    wire [7:0]               data;
    wire                     valid, ready, overrun, frame_error;
    wire [FIFO_ADDR_WIDTH:0] rx_level, tx_level;

    wire unused = &{1'b0, overrun, frame_error, rx_level, tx_level};

    uart #(.FIFO_ADDR_WIDTH(FIFO_ADDR_WIDTH)) echo (
        .clk(clk), .rst(rst), .divisor(divisor),
        .s_data(data), .s_valid(valid), .s_ready(ready),
        .m_data(data), .m_valid(valid), .m_ready(ready),
        .tx_level(tx_level), .rx_level(rx_level), .overrun(overrun), .frame_error(frame_error),
        .rxd(rxd), .txd(txd));

endmodule

`resetall
