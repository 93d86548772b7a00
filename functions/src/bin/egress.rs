//! The program of the Lambda function `egress`.

fn main() -> Result<(), lambda_runtime::Error> {
    stackdrop_functions::program::run(stackdrop_functions::components::egress::FUNCTION)
}
