//! The program of the Lambda function `load-balancer`.

fn main() -> Result<(), lambda_runtime::Error> {
    stackdrop_functions::program::run(stackdrop_functions::components::load_balancer::FUNCTION)
}
