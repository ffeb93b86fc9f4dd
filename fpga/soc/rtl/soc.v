// State of charge of a battery cell: coulomb counting, corrected by the cell's voltage.
//
// For each sample (current in mA, discharge positive; voltage in mV):
//
//     charge  <- charge - K * current                                (what flowed)
//     voltage expected = OCV(charge) - R * current                   (Rint model of a cell)
//     charge  <- charge + L * (voltage measured - voltage expected)  (Luenberger observer)
//
// G. L. Plett, "Battery Management Systems, Volume II", Artech House 2015, ch. 3, describes the
// model and why counting alone drifts. OCV is a table of 17 points with straight lines between.
// One multiplier does all four products, one after another: 7 cycles for a sample.
//
// Formats: charge is a fraction of full with 40 fraction bits, kept between 0 and 1 - 2**-40;
// voltages inside are in 1/16 mV. The drop |R * current| has to stay below 8 V.

`resetall
`default_nettype none

module soc (
    input  wire               clk,
    input  wire               rst,

    // Settings, written before use: 0 to 16 the OCV in mV at charge index/16; 17 K in 2**-40 of
    // full per mA and sample; 18 R in 2**-12 of 1/16 mV per mA; 19 L in 2**-32 of full per 1/16 mV;
    // 20 the charge, in 2**-16 of full
    input  wire               cfg_write,
    input  wire [4:0]         cfg_index,
    input  wire [15:0]        cfg_data,

    // Samples in
    input  wire signed [15:0] s_current,
    input  wire [12:0]        s_voltage,
    input  wire               s_valid,
    output wire               s_ready,

    // Estimate out, in 2**-32 of full
    output wire [31:0]        m_charge,
    output wire               m_valid,
    input  wire               m_ready
);

    localparam [2:0] IDLE    = 3'd0,
                     COUNT   = 3'd1,  // product: K * current
                     LOOKUP  = 3'd2,  // both neighbours in the table
                     BETWEEN = 3'd3,  // product: slope * place between them
                     DROP    = 3'd4,  // product: R * current
                     CORRECT = 3'd5,  // product: L * error
                     OUT     = 3'd6;

    reg [2:0]         state;
    reg [39:0]        charge;
    reg signed [15:0] current;
    reg [12:0]        voltage;

    reg [12:0]        ocv [0:16];
    reg [15:0]        k;
    reg [15:0]        r;
    reg [15:0]        l;

    reg [12:0]        below;     // OCV at the point below the charge, and above it
    reg [12:0]        above;
    reg signed [18:0] expected;  // 1/16 mV
    reg signed [18:0] error;     // of the voltage, 1/16 mV

    // The multiplier, 19 by 17 bits, and what it is given
    reg signed [18:0] left;
    reg signed [16:0] right;
    wire signed [35:0] product = left * right;

    wire signed [13:0] slope    = $signed({1'b0, above}) - $signed({1'b0, below});
    wire signed [18:0] measured = $signed({2'b00, voltage, 4'b0000});

    // After the table: OCV in 1/16 mV, the place between two points having 12 bits
    wire signed [18:0] ocv_now  = $signed({2'b00, below, 4'b0000}) + $signed(product[26:8]);

    // What is added to the charge: the count in 2**-40, the correction in 2**-32
    wire signed [44:0] step     = (state == COUNT) ? -$signed({{9{product[35]}}, product})
                                                   : $signed({product[35], product, 8'd0});
    wire signed [44:0] sum      = $signed({5'd0, charge}) + step;
    wire [39:0]        limited  = sum[44]         ? 40'd0
                                : (|sum[43:40])   ? {40{1'b1}}
                                :                   sum[39:0];

    assign s_ready  = (state == IDLE);
    assign m_valid  = (state == OUT);
    assign m_charge = charge[39:8];

    always @* begin
        case (state)
            COUNT:   begin left = {{3{current[15]}}, current}; right = $signed({1'b0, k}); end
            BETWEEN: begin left = {{5{slope[13]}}, slope};     right = {5'd0, charge[35:24]}; end
            DROP:    begin left = {{3{current[15]}}, current}; right = $signed({1'b0, r}); end
            default: begin left = error;                       right = $signed({1'b0, l}); end
        endcase
    end

    always @(posedge clk) begin
        below <= ocv[{1'b0, charge[39:36]}];
        above <= ocv[{1'b0, charge[39:36]} + 5'd1];

        if (cfg_write && cfg_index <= 5'd16)
            ocv[cfg_index] <= cfg_data[12:0];
        if (cfg_write && cfg_index == 5'd17)
            k <= cfg_data;
        if (cfg_write && cfg_index == 5'd18)
            r <= cfg_data;
        if (cfg_write && cfg_index == 5'd19)
            l <= cfg_data;
    end

    always @(posedge clk) begin
        if (rst) begin
            state    <= IDLE;
            charge   <= 0;
            current  <= 0;
            voltage  <= 0;
            expected <= 0;
            error    <= 0;
        end else begin
            case (state)
                IDLE: begin
                    if (cfg_write && cfg_index == 5'd20)
                        charge <= {cfg_data, 24'd0};
                    if (s_valid) begin
                        state   <= COUNT;
                        current <= s_current;
                        voltage <= s_voltage;
                    end
                end

                COUNT: begin
                    state  <= LOOKUP;
                    charge <= limited;
                end

                LOOKUP:
                    state <= BETWEEN;

                BETWEEN: begin
                    state    <= DROP;
                    expected <= ocv_now;
                end

                DROP: begin
                    state <= CORRECT;
                    error <= measured - expected + product[30:12];
                end

                CORRECT: begin
                    state  <= OUT;
                    charge <= limited;
                end

                OUT: if (m_ready)
                    state <= IDLE;

                default:
                    state <= IDLE;
            endcase
        end
    end

endmodule

`resetall
