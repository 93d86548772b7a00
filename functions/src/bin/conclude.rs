//! The program of the Lambda function `conclude`.

fn main() -> Result<(), lambda_runtime::Error> {
    stackdrop_functions::program::run(stackdrop_functions::steps::conclude::FUNCTION)
}
