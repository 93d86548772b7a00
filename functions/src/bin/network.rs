//! The program of the Lambda function `network`.

fn main() -> Result<(), lambda_runtime::Error> {
    stackdrop_functions::program::run(stackdrop_functions::components::network::FUNCTION)
}
