//! The program of the Lambda function `admit`.

fn main() -> Result<(), lambda_runtime::Error> {
    stackdrop_functions::program::run(stackdrop_functions::steps::admit::FUNCTION)
}
