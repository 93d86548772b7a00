//! The program of the Lambda function `service`.

fn main() -> Result<(), lambda_runtime::Error> {
    stackdrop_functions::program::run(stackdrop_functions::components::service::FUNCTION)
}
