//! The program of the Lambda function `instance`.

fn main() -> Result<(), lambda_runtime::Error> {
    stackdrop_functions::program::run(stackdrop_functions::components::instance::FUNCTION)
}
