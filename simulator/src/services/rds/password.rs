//! The reset of a managed master password, which a rotation of its secret causes.

use std::time::Duration;

use crate::world::World;

/// Resets the password of the instance with this secret. `false` if the instance is not available at that time.
/// Source of the status: "Viewing DB instance status" in the RDS user guide.
pub(crate) fn reset_password(world: &mut World, secret: &str, at: Duration, until: Duration) -> bool {
    let mut instances = world.states.rds.instances.values_mut();
    let instance = instances.find(|instance| instance.secret.as_ref().is_some_and(|own| own.arn == secret));
    let Some(instance) = instance.filter(|instance| instance.is_available(at) && instance.work.is_none())
    else {
        return false;
    };
    let before = instance.status(at);
    instance.interrupt(vec![(before, at), ("resetting-master-credentials", until)], at);
    true
}
