//! The program of the Lambda function `security-groups`.

fn main() -> Result<(), lambda_runtime::Error> {
    stackdrop_functions::program::run(stackdrop_functions::components::security_groups::FUNCTION)
}
