//! The specs of a chaos test: variants of one stack.

/// The zone of the domains.
pub(super) const HOSTED_ZONE: &str = "Z0123456789ABCDEFGHIJ";

/// The resources of a stack that have data: a person who uploads or requests anything agrees to their loss.
pub(super) fn with_data(stack: &str) -> [String; 2] {
    ["database", "instance"].map(|resource| format!("{stack}-{resource}"))
}

/// A variant of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Variant {
    /// Nearly everything that a spec can have.
    Full,
    /// Everything, a size larger.
    Larger,
    /// A service behind the load balancer with a domain of its own, and the database.
    WithoutInstance,
    /// A service behind the load balancer.
    WithoutDatabase,
    /// One worker.
    Worker,
    /// One worker and the instance, without internet access.
    Private,
}

impl Variant {
    pub(super) const ALL: [Self; 6] =
        [Self::Full, Self::Larger, Self::WithoutInstance, Self::WithoutDatabase, Self::Worker, Self::Private];

    /// The spec's text.
    pub(super) fn text(self, stack: &str) -> String {
        let nat = if self == Self::Private { "none" } else { "single" };
        let logs = match self {
            Self::Larger => ", flowLogs: { bucket: chaos-flow-logs }",
            Self::Private => ", flowLogs: { bucket: chaos-flow-logs, traffic: reject }",
            _ => "",
        };
        let mut text = format!(
            "stack: {stack}\nregion: eu-central-1\nnetwork: {{ cidr: 10.20.0.0/16, zones: 2, nat: {nat}{logs} }}\n"
        );
        if self == Self::WithoutInstance {
            text = format!(
                "{text}loadBalancer: {{ domain: {stack}.example.com, hostedZoneId: {HOSTED_ZONE} }}\n"
            );
        }
        if matches!(self, Self::Full | Self::Larger | Self::WithoutDatabase) {
            text += "loadBalancer:\n  certificateArn: arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23\n";
        }
        if self == Self::Larger {
            text += "  webAclArn: arn:aws:wafv2:eu-central-1:123456789012:regional/webacl/chaos/3f2504e0-4f89-41d3-9a0c-0305e82c3301\n";
        }
        if matches!(self, Self::Full | Self::Larger | Self::WithoutInstance) {
            text += "database: { deletionProtection: false, maxStorage: 100, allow: [services, instance] }\n";
            if self == Self::WithoutInstance {
                text = text.replace("[services, instance]", "[services]");
            }
        }
        if self == Self::Full {
            text += "redeploy: { schedule: 'cron(0 3 * * ? *)' }\n";
        }
        text += &self.instance();
        text + &self.service() + "onDelete: destroy\n"
    }

    fn instance(self) -> String {
        match self {
            Self::Full | Self::Private => "instance: { type: t3.micro }\n".into(),
            Self::Larger => "instance: { type: t3.small }\n".into(),
            Self::WithoutInstance | Self::WithoutDatabase | Self::Worker => String::new(),
        }
    }

    fn service(self) -> String {
        let mut text = match self {
            Self::Private => {
                "services:\n  web:\n    image: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/web:1\n"
                    .to_owned()
            }
            _ => "services:\n  web:\n    image: public.ecr.aws/docker/library/nginx:1.29\n".to_owned(),
        };
        if self == Self::Larger {
            text +=
                "    count: 3\n    cpu: 512\n    readOnlyRootFilesystem: true\n    writablePaths: [/tmp]\n";
        }
        if matches!(self, Self::Full | Self::WithoutInstance) {
            text += "    scaling: { min: 2, max: 4, cpuPercent: 70 }\n";
        }
        if !matches!(self, Self::Worker | Self::Private) {
            text += "    port: 80\n    routes: [{ path: '/*' }]\n";
        }
        if matches!(self, Self::Full | Self::Larger | Self::WithoutInstance) {
            text += "    database: { DB_HOST: host }\n";
        }
        if self == Self::Full {
            text += "    secrets: { KEY: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:chaos/key-AbCdEf' }\n";
        }
        text
    }
}
