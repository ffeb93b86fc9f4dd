`define STEP 1'b1
