//! The containers of a task definition, in the form of ECS's requests and responses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client;
use crate::params::Refusal;

/// A container definition. Omitted fields are returned with ECS's own defaults or not at all.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    #[serde(default)]
    cpu: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_reservation: Option<i64>,
    #[serde(default)]
    pub(super) port_mappings: Vec<PortMapping>,
    #[serde(default = "default_essential")]
    pub(super) essential: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_point: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    #[serde(default)]
    pub(super) environment: Vec<Variable>,
    #[serde(default)]
    mount_points: Vec<MountPoint>,
    #[serde(default)]
    volumes_from: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linux_parameters: Option<LinuxParameters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secrets: Option<Vec<Secret>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_consistency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_directory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    readonly_root_filesystem: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interactive: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pseudo_terminal: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    docker_labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ulimits: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log_configuration: Option<LogConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health_check: Option<HealthCheck>,
    #[serde(default)]
    system_controls: Vec<Value>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PortMapping {
    pub(super) container_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_port: Option<u16>,
    #[serde(default = "default_protocol")]
    protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_protocol: Option<String>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MountPoint {
    source_volume: String,
    container_path: String,
    #[serde(default)]
    read_only: bool,
}

/// A volume of a task definition. Of the kinds that Fargate has, only the bind mount on the task's own storage is simulated.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Volume {
    pub(super) name: String,
    // ECS returns an empty `host` for a volume that was registered without one ("Use bind mounts with Amazon ECS").
    #[serde(default)]
    host: Host,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Host {
    #[serde(skip_serializing_if = "Option::is_none")]
    source_path: Option<String>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Variable {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Secret {
    name: String,
    pub(super) value_from: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LinuxParameters {
    #[serde(skip_serializing_if = "Option::is_none")]
    init_process_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Value>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LogConfiguration {
    log_driver: String,
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
    #[serde(default)]
    secret_options: Vec<Value>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HealthCheck {
    command: Vec<String>,
    #[serde(default = "default_interval")]
    pub(super) interval: u32,
    #[serde(default = "default_timeout")]
    timeout: u32,
    #[serde(default = "default_retries")]
    pub(super) retries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) start_period: Option<u32>,
}

// ECS's own defaults. Source: `ContainerDefinition` and `HealthCheck` in the ECS API reference.
fn default_essential() -> bool {
    true
}
fn default_protocol() -> String {
    "tcp".into()
}
fn default_interval() -> u32 {
    30
}
fn default_timeout() -> u32 {
    5
}
fn default_retries() -> u32 {
    3
}

impl PortMapping {
    fn check(&self) -> Result<(), Refusal> {
        let protocols = self.protocol == "tcp" || self.protocol == "udp";
        let of_app =
            self.app_protocol.as_deref().is_none_or(|name| ["http", "http2", "grpc"].contains(&name));
        if self.container_port > 0 && protocols && of_app {
            return Ok(());
        }
        Err(client(format!("Invalid port mapping of container port {}.", self.container_port)))
    }
}

impl Volume {
    /// Source: `Volume` and `HostVolumeProperties` in the ECS API reference: Fargate has no hosts whose paths could be named.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let legal = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
        if self.name.is_empty() || self.name.len() > 255 || !self.name.chars().all(legal) {
            return Err(client(format!("Invalid volume name '{}'.", self.name)));
        }
        if self.host.source_path.is_some() {
            return Err(client("Fargate does not support the parameter sourcePath of host."));
        }
        Ok(())
    }
}

impl Container {
    /// Checks that every mount names a volume of the task definition.
    pub(super) fn check_mounts(&self, volumes: &[Volume]) -> Result<(), Refusal> {
        for (place, mount) in self.mount_points.iter().enumerate() {
            if !volumes.iter().any(|volume| volume.name == mount.source_volume) {
                return Err(client(format!("Unknown volume '{}'.", mount.source_volume)));
            }
            let mut earlier = self.mount_points[..place].iter();
            if !mount.container_path.starts_with('/')
                || earlier.any(|other| other.container_path == mount.container_path)
            {
                return Err(client(format!("Invalid mount point '{}'.", mount.container_path)));
            }
        }
        Ok(())
    }

    pub(super) fn cpu(&self) -> i64 {
        self.cpu
    }

    /// The part of the task's memory that is reserved for it.
    pub(super) fn reserved_memory(&self) -> i64 {
        self.memory_reservation.or(self.memory).unwrap_or_default()
    }

    /// The log group and the prefix of the stream's name, for a container that writes to `CloudWatch` Logs.
    pub(super) fn log_target(&self) -> Option<(&str, String)> {
        let options = &self.log_configuration.as_ref()?.options;
        let stream = format!("{}/{}", options.get("awslogs-stream-prefix")?, self.name);
        Some((options.get("awslogs-group")?, stream))
    }

    /// Checks a container by itself, and fills in ECS's defaults.
    pub(super) fn check(&mut self, region: &str, memory_of_task: i64) -> Result<(), Refusal> {
        let legal = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
        if self.name.is_empty() || self.name.len() > 255 || !self.name.chars().all(legal) {
            return Err(client(format!("Invalid container name '{}'.", self.name)));
        }
        if self.image.is_empty() || self.image.contains(char::is_whitespace) {
            return Err(client("Container.image should not be null or empty."));
        }
        if self.cpu < 0 || [self.memory, self.memory_reservation].into_iter().flatten().any(|mib| mib < 6) {
            return Err(client(format!(
                "Invalid setting for container '{}'. CPU must not be negative, and memory at least 6 MiB.",
                self.name
            )));
        }
        if self.memory.or(self.memory_reservation).unwrap_or_default() > memory_of_task {
            return Err(client(format!(
                "Invalid setting for container '{}'. The memory of a container must not exceed the task's 'memory'.",
                self.name
            )));
        }
        self.check_limits()?;
        for mapping in &mut self.port_mappings {
            mapping.check()?;
            let host = *mapping.host_port.get_or_insert(mapping.container_port);
            if host != mapping.container_port {
                return Err(client(
                    "When networkMode=awsvpc, the host ports and container ports in port mappings must match.",
                ));
            }
        }
        let mappings = &self.port_mappings;
        let same = |one: &PortMapping, other: &PortMapping| {
            (one.container_port, &one.protocol) == (other.container_port, &other.protocol)
        };
        if mappings
            .iter()
            .enumerate()
            .any(|(place, one)| mappings[..place].iter().any(|other| same(one, other)))
        {
            return Err(client(format!("Container '{}' maps a port more than once.", self.name)));
        }
        self.check_secrets()?;
        self.check_logs(region)?;
        self.check_health()
    }

    /// Settings that Fargate does not support, and its longest stop timeout. Source: `ContainerDefinition` in the ECS
    /// API reference; "Task definition differences for Fargate".
    fn check_limits(&self) -> Result<(), Refusal> {
        if !(self.volumes_from.is_empty() && self.system_controls.is_empty()) {
            return Err(client(
                "the simulator's containers have neither volumes of others nor system controls",
            ));
        }
        if self.ulimits.as_ref().is_some_and(|limits| limits.iter().any(|limit| limit["name"] != "nofile")) {
            return Err(client("Fargate only supports the ulimit nofile."));
        }
        let capabilities =
            self.linux_parameters.as_ref().and_then(|parameters| parameters.capabilities.as_ref());
        let added = capabilities.and_then(|capabilities| capabilities["add"].as_array());
        if added.is_some_and(|added| added.iter().any(|name| name != "SYS_PTRACE")) {
            return Err(client("Fargate can only add the capability SYS_PTRACE."));
        }
        let waits = [self.start_timeout, self.stop_timeout];
        if waits.into_iter().flatten().any(|seconds| !(2..=120).contains(&seconds)) {
            return Err(client(
                "On Fargate, startTimeout and stopTimeout must be between 2 and 120 seconds.",
            ));
        }
        if self.version_consistency.as_ref().is_some_and(|text| text != "enabled" && text != "disabled") {
            return Err(client("versionConsistency must be enabled or disabled."));
        }
        Ok(())
    }

    fn check_secrets(&self) -> Result<(), Refusal> {
        let secrets = self.secrets.as_deref().unwrap_or_default();
        for (place, secret) in secrets.iter().enumerate() {
            let taken = self.environment.iter().any(|variable| variable.name == secret.name)
                || secrets[..place].iter().any(|other| other.name == secret.name);
            if taken {
                return Err(client(format!(
                    "The secret name must be unique and not shared with any new or existing environment variables set on the container, such as '{}'.",
                    secret.name
                )));
            }
        }
        Ok(())
    }

    fn check_logs(&self, region: &str) -> Result<(), Refusal> {
        const KNOWN: [&str; 7] = [
            "awslogs-group",
            "awslogs-region",
            "awslogs-stream-prefix",
            "awslogs-create-group",
            "awslogs-multiline-pattern",
            "mode",
            "max-buffer-size",
        ];
        let Some(logs) = &self.log_configuration else { return Ok(()) };
        if logs.log_driver != "awslogs" {
            return Err(client(format!(
                "the simulator knows the log driver awslogs only, not {}",
                logs.log_driver
            )));
        }
        for option in ["awslogs-group", "awslogs-region", "awslogs-stream-prefix"] {
            if !logs.options.contains_key(option) {
                return Err(client(format!("Log driver awslogs requires options: {option}")));
            }
        }
        if logs.options.get("awslogs-region").is_some_and(|named| named != region) {
            return Err(client("the simulator has no other region to write logs to"));
        }
        if logs.options.get("awslogs-create-group").is_some_and(|create| create == "true") {
            return Err(client("the simulator's tasks do not create log groups"));
        }
        match logs.options.keys().find(|option| !KNOWN.contains(&option.as_str())) {
            Some(option) => Err(client(format!("Log driver awslogs disallows options: {option}"))),
            None => Ok(()),
        }
    }

    /// Source of the limits: `HealthCheck` in the ECS API reference.
    fn check_health(&self) -> Result<(), Refusal> {
        let Some(health) = &self.health_check else { return Ok(()) };
        let legal = (5..=300).contains(&health.interval)
            && (2..=120).contains(&health.timeout)
            && (1..=10).contains(&health.retries)
            && health.start_period.is_none_or(|period| period <= 300)
            && matches!(health.command.first().map(String::as_str), Some("CMD" | "CMD-SHELL" | "NONE"));
        if legal {
            Ok(())
        } else {
            Err(client(format!("Invalid health check of container '{}'.", self.name)))
        }
    }
}
