//! The content of a task definition: the desired one, and that of an existing revision.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecs::types::{
    Compatibility, ContainerDefinition, CpuArchitecture, HealthCheck, KeyValuePair, LinuxParameters,
    LogConfiguration, LogDriver, NetworkMode, OsFamily, PortMapping, RuntimePlatform, Secret, TaskDefinition,
    TransportProtocol,
};
use stackdrop_specs::{DATABASE_PORT, DatabaseValue, Managed, Service};

use super::dependencies::Dependencies;
use super::observed::Observed;
use super::{logs, permissions, volumes};
use crate::aws::error::StepError;
use crate::contract::component::Work;

/// The content of a task definition that Stackdrop writes, in a canonical order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) image: String,
    pub(super) cpu: String,
    pub(super) memory: String,
    port: Option<i32>,
    command: Vec<String>,
    check: Option<Check>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) secrets: BTreeMap<String, String>,
    exec: bool,
    read_only: bool,
    /// The folders that are writable although the file system is not.
    pub(super) writable: BTreeSet<String>,
    pub(super) roles: [String; 2],
    log: BTreeMap<String, String>,
}

impl Content {
    pub(super) fn desired(
        work: &Work<'_>,
        observed: &Observed,
        name: &str,
        service: &Service,
        dependencies: &Dependencies,
    ) -> Self {
        let mut environment = service.environment.clone();
        let mut secrets = service.secrets.clone();
        let database = work.spec.database.as_ref().map_or("", |database| database.name.as_str());
        for (variable, value) in &service.database {
            let key = match value {
                DatabaseValue::Host => Err(dependencies.host(name).to_owned()),
                DatabaseValue::Port => Err(DATABASE_PORT.to_string()),
                DatabaseValue::Name => Err(database.to_owned()),
                DatabaseValue::Username => Ok("username"),
                DatabaseValue::Password => Ok("password"),
            };
            match key {
                Ok(key) => {
                    secrets.insert(variable.clone(), format!("{}:{key}::", dependencies.secret_of(name)))
                }
                Err(text) => environment.insert(variable.clone(), text),
            };
        }
        let region = work.aws.settings.region.clone();
        let log = LOG_OPTIONS.map(str::to_owned).into_iter();
        Self {
            image: image(work, observed, name, service).to_owned(),
            cpu: service.cpu.to_string(),
            memory: service.memory.to_string(),
            port: service.port.map(i32::from),
            command: service.command.clone(),
            check: Check::desired(service),
            environment,
            secrets,
            exec: service.exec,
            read_only: service.read_only_root_filesystem,
            writable: service.writable_paths.iter().cloned().collect(),
            roles: ["role/execution", "role/task"].map(|role| permissions::arn(work, role)),
            log: log.zip([logs::group_name(work, name), region, name.to_owned()]).collect(),
        }
    }

    /// The content of a revision, if it contains nothing else.
    pub(super) fn of(definition: &TaskDefinition) -> Option<Self> {
        let [container] = definition.container_definitions() else { return None };
        let plain = is_plain(definition) && is_plain_container(container);
        let writable = volumes::writable(definition, container)?;
        let log = container.log_configuration().filter(|log| *log.log_driver() == LogDriver::Awslogs)?;
        let option = |name: &str| Some((name.to_owned(), log.options()?.get(name)?.clone()));
        let variables = container.environment().iter();
        let variables = variables
            .filter_map(|pair| Some((pair.name()?.to_owned(), pair.value().unwrap_or_default().to_owned())));
        let secrets = container.secrets().iter();
        plain.then(|| Self {
            image: container.image().unwrap_or_default().to_owned(),
            cpu: definition.cpu().unwrap_or_default().to_owned(),
            memory: definition.memory().unwrap_or_default().to_owned(),
            port: container.port_mappings().first().and_then(PortMapping::container_port),
            command: container.command().to_vec(),
            check: container.health_check().map(Check::of),
            environment: variables.collect(),
            secrets: secrets
                .map(|secret| (secret.name().to_owned(), secret.value_from().to_owned()))
                .collect(),
            exec: container.linux_parameters().and_then(LinuxParameters::init_process_enabled) == Some(true),
            read_only: container.readonly_root_filesystem() == Some(true),
            writable,
            roles: [definition.execution_role_arn(), definition.task_role_arn()]
                .map(|arn| arn.unwrap_or_default().to_owned()),
            log: LOG_OPTIONS.into_iter().filter_map(option).collect(),
        })
    }

    /// The CPU units of a task.
    pub(super) fn cpu_units(&self) -> Option<f64> {
        self.cpu.parse().ok()
    }

    /// The fields by name, as text. Secrets appear as their ARNs.
    pub(super) fn fields(&self) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::from([
            ("image".to_owned(), self.image.clone()),
            ("cpu".to_owned(), self.cpu.clone()),
            ("memory".to_owned(), self.memory.clone()),
            ("exec".to_owned(), self.exec.to_string()),
            ("readOnlyRootFilesystem".to_owned(), self.read_only.to_string()),
            ("executionRole".to_owned(), self.roles[0].clone()),
            ("taskRole".to_owned(), self.roles[1].clone()),
        ]);
        if !self.command.is_empty() {
            fields.insert("command".into(), self.command.join(" "));
        }
        if !self.writable.is_empty() {
            let paths: Vec<&str> = self.writable.iter().map(String::as_str).collect();
            fields.insert("writablePaths".into(), paths.join(", "));
        }
        fields.extend(self.check.as_ref().map(|check| ("healthCheck".to_owned(), check.to_string())));
        fields.extend(self.port.map(|port| ("port".to_owned(), port.to_string())));
        let named = |kind: &'static str, values: &BTreeMap<String, String>| {
            let values = values.clone().into_iter();
            values.map(|(name, value)| (format!("{kind}.{name}"), value)).collect::<Vec<_>>()
        };
        fields.extend(named("environment", &self.environment));
        fields.extend(named("secrets", &self.secrets));
        fields.extend(named("log", &self.log));
        fields
    }

    pub(super) fn container(&self, name: &str) -> Result<ContainerDefinition, StepError> {
        let defect =
            |error| StepError::Defect(format!("writing task definition task-definition/{name}: {error}"));
        let mut container =
            ContainerDefinition::builder().name(name).image(&self.image).essential(true).log_configuration(
                LogConfiguration::builder()
                    .log_driver(LogDriver::Awslogs)
                    .set_options(Some(self.log.clone().into_iter().collect()))
                    .build()
                    .map_err(defect)?,
            );
        if let Some(port) = self.port {
            let mapping = PortMapping::builder().container_port(port).host_port(port);
            container = container.port_mappings(mapping.protocol(TransportProtocol::Tcp).build());
        }
        if !self.command.is_empty() {
            container = container.set_command(Some(self.command.clone()));
        }
        if let Some(check) = &self.check {
            container = container.health_check(check.build().map_err(defect)?);
        }
        for (name, value) in &self.environment {
            container = container.environment(KeyValuePair::builder().name(name).value(value).build());
        }
        for (name, from) in &self.secrets {
            container =
                container.secrets(Secret::builder().name(name).value_from(from).build().map_err(defect)?);
        }
        if self.read_only {
            container = container.readonly_root_filesystem(true);
        }
        if !self.writable.is_empty() {
            container = container.set_mount_points(Some(volumes::mounts(&self.writable)));
        }
        if self.exec {
            // An init process removes the processes that ECS exec's agent leaves behind.
            // Source: "Using ECS exec", best practices, in the ECS developer guide.
            container =
                container.linux_parameters(LinuxParameters::builder().init_process_enabled(true).build());
        }
        Ok(container.build())
    }
}

/// The check of a container that ECS runs in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    command: Vec<String>,
    interval: i32,
    timeout: i32,
    retries: i32,
    start_period: i32,
}

impl Check {
    fn desired(service: &Service) -> Option<Self> {
        let check = &service.health_check;
        let program = check.command.iter().cloned();
        (!check.command.is_empty()).then(|| Self {
            command: std::iter::once("CMD".to_owned()).chain(program).collect(),
            interval: i32::from(check.interval),
            // The limits are those of `HealthCheck` in the ECS API reference.
            timeout: i32::from(check.timeout).min(60),
            retries: i32::from(check.unhealthy),
            start_period: i32::try_from(check.grace).unwrap_or(i32::MAX).min(300),
        })
    }

    fn of(check: &HealthCheck) -> Self {
        Self {
            command: check.command().to_vec(),
            interval: check.interval().unwrap_or(30),
            timeout: check.timeout().unwrap_or(5),
            retries: check.retries().unwrap_or(3),
            start_period: check.start_period().unwrap_or(0),
        }
    }

    fn build(&self) -> Result<HealthCheck, aws_sdk_ecs::error::BuildError> {
        let check = HealthCheck::builder().set_command(Some(self.command.clone())).interval(self.interval);
        check.timeout(self.timeout).retries(self.retries).start_period(self.start_period).build()
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, interval, timeout, retries, start_period } = self;
        let command = command.join(" ");
        write!(
            f,
            "{command} (every {interval} s, at most {timeout} s, {retries} failures, after {start_period} s)"
        )
    }
}

/// Whether a task definition has nothing, beside its containers, that Stackdrop never writes.
fn is_plain(definition: &TaskDefinition) -> bool {
    definition.network_mode() == Some(&NetworkMode::Awsvpc)
        && definition.requires_compatibilities() == [Compatibility::Fargate]
        && definition.runtime_platform().is_none_or(is_default_platform)
        && definition.ephemeral_storage().is_none()
}

/// Whether a platform is Fargate's default, which means the same as none: it is not documented whether ECS returns it then.
fn is_default_platform(platform: &RuntimePlatform) -> bool {
    platform.cpu_architecture().is_none_or(|it| *it == CpuArchitecture::X8664)
        && platform.operating_system_family().is_none_or(|it| *it == OsFamily::Linux)
}

/// Whether a container has nothing that Stackdrop never writes.
fn is_plain_container(container: &ContainerDefinition) -> bool {
    container.entry_point().is_empty()
        && container.user().is_none()
        && container.working_directory().is_none()
        && container.environment_files().is_empty()
        && container.port_mappings().len() <= 1
        && container.start_timeout().is_none()
        && container.stop_timeout().is_none()
        && container.ulimits().is_empty()
}

/// The log driver's options that Stackdrop sets. AWS may add others.
const LOG_OPTIONS: [&str; 3] = ["awslogs-group", "awslogs-region", "awslogs-stream-prefix"];

/// Whether another tool manages the service's image.
pub(super) fn sets_image(service: &Service) -> bool {
    service.managed_elsewhere.contains(&Managed::Image)
}

/// The desired image of a service: the spec's or, if another tool manages it, the running one.
pub(super) fn image<'a>(
    work: &Work<'_>,
    observed: &'a Observed,
    name: &str,
    service: &'a Service,
) -> &'a str {
    let exists = observed.active_service(work, name).is_some();
    let running = observed.definitions.get(name).filter(|_| exists && sets_image(service));
    running
        .map(|definition| definition.image.as_str())
        .filter(|image| !image.is_empty())
        .unwrap_or(&service.image)
}

#[cfg(test)]
mod tests {
    use aws_sdk_ecs::types::builders::{ContainerDefinitionBuilder, TaskDefinitionBuilder};
    use aws_sdk_ecs::types::{EnvironmentFile, EnvironmentFileType, EphemeralStorage, Ulimit, UlimitName};

    use super::*;

    fn log(driver: LogDriver) -> LogConfiguration {
        let options = LOG_OPTIONS.map(|option| (option.to_owned(), "x".to_owned()));
        LogConfiguration::builder().log_driver(driver).set_options(Some(options.into())).build().unwrap()
    }

    fn container() -> ContainerDefinitionBuilder {
        ContainerDefinition::builder().name("web").image("web").log_configuration(log(LogDriver::Awslogs))
    }

    fn definition() -> TaskDefinitionBuilder {
        let definition = TaskDefinition::builder().network_mode(NetworkMode::Awsvpc);
        definition.requires_compatibilities(Compatibility::Fargate)
    }

    fn content(definition: TaskDefinitionBuilder, container: ContainerDefinitionBuilder) -> Option<Content> {
        Content::of(&definition.container_definitions(container.build()).build())
    }

    #[test]
    fn a_revision_with_something_that_stackdrop_never_writes_is_not_compared() {
        let port = |port: i32| PortMapping::builder().container_port(port).build();
        assert!(content(definition(), container()).is_some());
        assert!(content(definition(), container().port_mappings(port(80))).is_some());
        let file = EnvironmentFile::builder().value("arn:aws:s3:::books/env").r#type(EnvironmentFileType::S3);
        let limit = Ulimit::builder().name(UlimitName::Nofile).soft_limit(1024).hard_limit(4096);
        for (what, container) in [
            ("an entry point", container().entry_point("sh")),
            ("a user", container().user("root")),
            ("a working directory", container().working_directory("/tmp")),
            ("a file of variables", container().environment_files(file.build().unwrap())),
            ("a second port", container().port_mappings(port(80)).port_mappings(port(81))),
            ("a start timeout", container().start_timeout(60)),
            ("a stop timeout", container().stop_timeout(60)),
            ("a limit", container().ulimits(limit.build().unwrap())),
            ("another log driver", container().log_configuration(log(LogDriver::Splunk))),
            ("no log", container().set_log_configuration(None)),
        ] {
            assert_eq!(content(definition(), container), None, "{what}");
        }
        let arm = RuntimePlatform::builder().cpu_architecture(CpuArchitecture::Arm64).build();
        for (what, definition) in [
            ("another network mode", definition().network_mode(NetworkMode::Bridge)),
            ("another compatibility", definition().requires_compatibilities(Compatibility::Ec2)),
            ("another platform", definition().runtime_platform(arm)),
            (
                "more storage",
                definition().ephemeral_storage(EphemeralStorage::builder().size_in_gib(30).build()),
            ),
            ("another container", definition().container_definitions(container().build())),
        ] {
            assert_eq!(content(definition, container()), None, "{what}");
        }
    }

    #[test]
    fn a_health_check_without_numbers_has_those_of_ecs() {
        // Source: `HealthCheck` in the ECS API reference.
        let check = Check::of(&HealthCheck::builder().command("CMD").command("true").build().unwrap());
        assert_eq!(check.to_string(), "CMD true (every 30 s, at most 5 s, 3 failures, after 0 s)");
    }

    #[test]
    fn only_another_platform_than_fargates_default_is_something_that_stackdrop_never_writes() {
        let platform = |processor: Option<CpuArchitecture>, system: Option<OsFamily>| {
            RuntimePlatform::builder()
                .set_cpu_architecture(processor)
                .set_operating_system_family(system)
                .build()
        };
        assert!(is_default_platform(&platform(None, None)));
        assert!(is_default_platform(&platform(Some(CpuArchitecture::X8664), Some(OsFamily::Linux))));
        assert!(!is_default_platform(&platform(Some(CpuArchitecture::Arm64), Some(OsFamily::Linux))));
        assert!(!is_default_platform(&platform(
            Some(CpuArchitecture::X8664),
            Some(OsFamily::WindowsServer2022Core)
        )));
    }
}
