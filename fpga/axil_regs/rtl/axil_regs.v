// AXI4-Lite register file (ARM IHI 0022E, part B): 32-bit registers with byte strobes.
//
// Words 0 to CONTROLS-1 are control registers, read and written; the STATUSES words behind them
// are read only and show `status`. Any other address, and a write to a status word, is answered
// with SLVERR and changes nothing. A read in the cycle of a write gives the old value.

`resetall
`default_nettype none

module axil_regs #(
    parameter ADDR_WIDTH = 8,
    parameter CONTROLS   = 4,
    parameter STATUSES   = 2
) (
    input  wire                   clk,
    input  wire                   rst,

    // Write address
    input  wire [ADDR_WIDTH-1:0]  s_axil_awaddr,
    input  wire                   s_axil_awvalid,
    output wire                   s_axil_awready,

    // Write data
    input  wire [31:0]            s_axil_wdata,
    input  wire [3:0]             s_axil_wstrb,
    input  wire                   s_axil_wvalid,
    output wire                   s_axil_wready,

    // Write response
    output reg  [1:0]             s_axil_bresp,
    output reg                    s_axil_bvalid,
    input  wire                   s_axil_bready,

    // Read address
    input  wire [ADDR_WIDTH-1:0]  s_axil_araddr,
    input  wire                   s_axil_arvalid,
    output wire                   s_axil_arready,

    // Read data
    output reg  [31:0]            s_axil_rdata,
    output reg  [1:0]             s_axil_rresp,
    output reg                    s_axil_rvalid,
    input  wire                   s_axil_rready,

    // The registers
    output reg  [CONTROLS*32-1:0] control,
    input  wire [STATUSES*32-1:0] status
);

    localparam [1:0] OKAY   = 2'b00,
                     SLVERR = 2'b10;

    // Address and data of a write come in any order; each waits here for the other.
    reg                  aw_held;
    reg [ADDR_WIDTH-3:0] aw_word;
    reg                  w_held;
    reg [31:0]           w_data;
    reg [3:0]            w_strb;

    assign s_axil_awready = !aw_held;
    assign s_axil_wready  = !w_held;
    assign s_axil_arready = !s_axil_rvalid || s_axil_rready;

    wire write = aw_held && w_held && (!s_axil_bvalid || s_axil_bready);
    wire read  = s_axil_arvalid && s_axil_arready;

    // The lowest two bits of an address choose a byte of a word, which the strobes do.
    wire [ADDR_WIDTH-3:0] ar_word = s_axil_araddr[ADDR_WIDTH-1:2];
    wire [3:0]            unused  = {s_axil_araddr[1:0], s_axil_awaddr[1:0]};

    integer i, b;

    always @(posedge clk) begin
        if (rst) begin
            aw_held       <= 1'b0;
            w_held        <= 1'b0;
            s_axil_bvalid <= 1'b0;
            s_axil_bresp  <= OKAY;
            control       <= 0;
        end else begin
            if (s_axil_bready)
                s_axil_bvalid <= 1'b0;

            if (s_axil_awvalid && s_axil_awready) begin
                aw_held <= 1'b1;
                aw_word <= s_axil_awaddr[ADDR_WIDTH-1:2];
            end
            if (s_axil_wvalid && s_axil_wready) begin
                w_held <= 1'b1;
                w_data <= s_axil_wdata;
                w_strb <= s_axil_wstrb;
            end

            if (write) begin
                aw_held       <= 1'b0;
                w_held        <= 1'b0;
                s_axil_bvalid <= 1'b1;
                s_axil_bresp  <= SLVERR;
                for (i = 0; i < CONTROLS; i = i + 1) begin
                    if ({{(34-ADDR_WIDTH){1'b0}}, aw_word} == i) begin
                        s_axil_bresp <= OKAY;
                        for (b = 0; b < 4; b = b + 1) begin
                            if (w_strb[b])
                                control[i*32 + b*8 +: 8] <= w_data[b*8 +: 8];
                        end
                    end
                end
            end
        end
    end

    integer j;

    always @(posedge clk) begin
        if (rst) begin
            s_axil_rvalid <= 1'b0;
            s_axil_rresp  <= OKAY;
            s_axil_rdata  <= 0;
        end else begin
            if (s_axil_rready)
                s_axil_rvalid <= 1'b0;

            if (read) begin
                s_axil_rvalid <= 1'b1;
                s_axil_rresp  <= SLVERR;
                s_axil_rdata  <= 0;
                for (j = 0; j < CONTROLS; j = j + 1) begin
                    if ({{(34-ADDR_WIDTH){1'b0}}, ar_word} == j) begin
                        s_axil_rresp <= OKAY;
                        s_axil_rdata <= control[j*32 +: 32];
                    end
                end
                for (j = 0; j < STATUSES; j = j + 1) begin
                    if ({{(34-ADDR_WIDTH){1'b0}}, ar_word} == CONTROLS + j) begin
                        s_axil_rresp <= OKAY;
                        s_axil_rdata <= status[j*32 +: 32];
                    end
                end
            end
        end
    end

endmodule

`resetall
