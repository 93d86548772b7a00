//! The program of the Lambda function `database`.

fn main() -> Result<(), lambda_runtime::Error> {
    stackdrop_functions::program::run(stackdrop_functions::components::database::FUNCTION)
}
