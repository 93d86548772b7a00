//! `stackdrop destroy STACK`

use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::json;
use stackdrop_functions::components::effects;
use stackdrop_functions::deployment::bucket;
use stackdrop_functions::deployment::effect::Effect;
use stackdrop_functions::deployment::outcome::exit_code;
use stackdrop_functions::deployment::state::Baseline;
use stackdrop_specs::{Spec, StackName};

use super::agreed::Agreed;
use super::deploy::deploy_request;
use super::installation::Installation;
use super::{Target, prompt, with_installation};
use crate::commands::{print, print_error};

/// Destroy a stack: delete all its resources. If the database has deletion protection, or if data would be lost and no option
/// agrees to that, nothing is deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CREDENTIALS)]
pub(in crate::commands) struct Destroy {
    /// The stack's name.
    #[arg(value_parser = super::stack_name)]
    stack: StackName,
    /// Agree that the data of this resource is deleted, such as `shop-database`. For several resources, repeat the option.
    #[arg(long, value_name = "NAME")]
    delete_data: Vec<String>,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

impl Destroy {
    pub(in crate::commands) fn run(self) -> Result<ExitCode> {
        with_installation(&self.target, async |installation| self.destroy(&installation).await)
    }

    async fn destroy(&self, installation: &Installation) -> Result<u8> {
        let stack = self.stack.as_str();
        if !self.yes && !confirm(installation, stack).await? {
            print_error("Not confirmed: nothing was changed.");
            return Ok(exit_code::REJECTED);
        }
        let agreed = Agreed { delete_data: self.delete_data.clone(), empty_database: None };
        let request = agreed.add_to(json!({ "stack": stack, "action": "destroy" }));
        deploy_request(installation, &self.target, stack, &request).await
    }
}

/// Shows what is lost, and asks at the terminal for the stack's name.
async fn confirm(installation: &Installation, stack: &str) -> Result<bool> {
    let baseline: Option<Baseline> = installation.read(&bucket::baseline_key(stack)).await?;
    let place = &installation.place;
    print(&format!("This destroys stack {stack} in {place}, and deletes all its resources."));
    let effects = baseline.map(|baseline| shown(&baseline.spec)).unwrap_or_default();
    for line in &effects {
        print(line);
    }
    match prompt::ask("Type the stack name to confirm:")? {
        Some(answer) => Ok(answer == stack),
        None => bail!("not a terminal: pass --yes to destroy without confirmation"),
    }
}

/// What the destruction of a stack with this spec means, one line each, the worst first.
fn shown(spec: &Spec) -> Vec<String> {
    let line = |effect: Effect| {
        let option = effect.word.map(|word| format!(" (needs --delete-data {word})")).unwrap_or_default();
        format!("  {}: {}{option}", effect.kind, effect.what)
    };
    effects::of_destroy(spec).into_iter().map(|(_, effect)| line(effect)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed setup fails the test")]
mod tests {
    use super::*;

    #[test]
    fn the_loss_of_data_is_shown_first_with_the_option_that_it_needs() {
        let spec = Spec::read(b"stack: shop\ninstance: {}\ndatabase: { finalSnapshot: false }\n").unwrap();
        let lines = shown(&spec);
        let database = "  !! deletes data: deletes the database without a final snapshot, and its automated backups \
                        (needs --delete-data shop-database)";
        assert_eq!(lines[0], database);
        assert!(lines[1].ends_with("(needs --delete-data shop-instance)"), "{lines:?}");
        assert!(lines[2..].iter().all(|line| line.starts_with("   ! ")), "{lines:?}");
    }
}
