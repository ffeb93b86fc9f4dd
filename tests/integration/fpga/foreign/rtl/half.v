module half #(parameter WIDTH = 4) (input wire [WIDTH-1:0] a, output wire [WIDTH-1:0] b);
  reg [7:0] table_ [0:15];
  initial $readmemh("half.hex", table_);
  assign b = table_[a];
endmodule
