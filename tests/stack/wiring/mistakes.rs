//! What may be wrong in a template.

use super::checks::Check::{self, *};

/// A mistake in the template.
pub(super) struct Mistake {
    /// What is wrong.
    pub(super) what: &'static str,
    /// What notices it.
    pub(super) check: Check,
    /// The resource that it is in; empty for what is in none.
    pub(super) within: &'static str,
    /// What stands in the template.
    pub(super) from: &'static str,
    /// What stands there by mistake.
    pub(super) to: &'static str,
}

const fn mistake(
    check: Check,
    within: &'static str,
    what: &'static str,
    from: &'static str,
    to: &'static str,
) -> Mistake {
    Mistake { what, check, within, from, to }
}

const DEAD_LETTERS: &str = "          DeadLetterConfig: {Arn: !GetAtt LostEvents.Arn}\n";
const TARGET: &str = "Arn: !Ref Workflow\n          RoleArn";
const ALARM: &str = "AlarmActions: [!Ref Topic]";
const MACHINE: &str = "{Name: StateMachineArn, Value: !Ref Workflow}";

pub(super) const MISTAKES: &[Mistake] = &[
    // ---------------------------------------------------------------- the workflow and its functions
    mistake(
        Installs,
        "WorkflowRole",
        "who runs the workflow",
        "states.amazonaws.com",
        "events.amazonaws.com",
    ),
    mistake(Installs, "WorkflowRole", "whose workflow", "!Ref AWS::AccountId", "'210987654321'"),
    mistake(
        Installs,
        "WorkflowRole",
        "its log can't be set up",
        "                  - logs:CreateLogDelivery\n",
        "",
    ),
    mistake(
        Installs,
        "WorkflowRole",
        "its log can't be let in",
        "                  - logs:PutResourcePolicy\n",
        "",
    ),
    mistake(
        Installs,
        "WorkflowRole",
        "it can't be traced",
        "                  - xray:PutTraceSegments\n",
        "",
    ),
    mistake(Installs, "", "no versions are published", "    AutoPublishAlias: live\n", ""),
    mistake(Installs, "Workflow", "express", "Type: STANDARD", "Type: EXPRESS"),
    mistake(
        Installs,
        "Workflow",
        "no log group",
        "LogGroupArn: !GetAtt WorkflowLogs.Arn",
        "Arn: !GetAtt WorkflowLogs.Arn",
    ),
    mistake(
        LogsOmitData,
        "Workflow",
        "data is logged",
        "IncludeExecutionData: false",
        "IncludeExecutionData: true",
    ),
    mistake(LogsOmitData, "WorkflowLogLevel", "nothing is logged", "Default: ERROR", "Default: 'OFF'"),
    mistake(
        FunctionsRun,
        "WorkflowRole",
        "invoke by another action",
        "lambda:InvokeFunction",
        "lambda:InvokeAsync",
    ),
    mistake(
        FunctionsRun,
        "WorkflowRole",
        "one is left out",
        "                  - !Sub ${DatabaseFunction.Arn}:*\n",
        "",
    ),
    mistake(FunctionsRun, "WorkflowRole", "no versions", "${AdmitFunction.Arn}:*", "${AdmitFunction.Arn}"),
    mistake(
        FunctionsRun,
        "Workflow",
        "another's function",
        "!Ref NetworkFunction.Version",
        "!Ref EgressFunction.Version",
    ),
    mistake(FunctionsRun, "EgressFunction", "another's program", "Binary: egress", "Binary: instance"),
    mistake(FunctionsRun, "NetworkRole", "another's log", "!GetAtt NetworkLogs.Arn", "!GetAtt AdmitLogs.Arn"),
    mistake(FunctionsRun, "NetworkFunction", "a log of another", "!Ref NetworkLogs", "!Ref AdmitLogs"),
    mistake(FunctionsRun, "AdmitRole", "no log stream", "logs:CreateLogStream", "logs:CreateLogGroup"),
    mistake(FunctionsRun, "ConcludeRole", "no log", "logs:PutLogEvents", "logs:GetLogEvents"),
    mistake(Installs, "NetworkRole", "who runs a function", "lambda.amazonaws.com", "ec2.amazonaws.com"),
    mistake(
        Installs,
        "ConcludeFunction",
        "a role that is none",
        "!GetAtt ConcludeRole.Arn",
        "!Ref ConcludeRole",
    ),
    // ---------------------------------------------------------------- what starts a deployment
    mistake(UploadsStart, "Bucket", "S3 is silent", "EventBridgeEnabled: true", "EventBridgeEnabled: false"),
    mistake(UploadsStart, "SpecRule", "another source", "[aws.s3]", "[aws.states]"),
    mistake(UploadsStart, "SpecRule", "no deletions", "[Object Created, Object Deleted]", "[Object Created]"),
    mistake(UploadsStart, "SpecRule", "no uploads", "[Object Created, Object Deleted]", "[Object Deleted]"),
    mistake(UploadsStart, "SpecRule", "another bucket", "name: [!Ref Bucket]", "name: [!GetAtt Bucket.Arn]"),
    mistake(
        UploadsStart,
        "SpecRule",
        "a kind of file is left out",
        "              - wildcard: plans/*.yml\n",
        "",
    ),
    mistake(
        UploadsStart,
        "SpecRule",
        "records start deployments",
        "wildcard: specs/*.json",
        "wildcard: '*.json'",
    ),
    mistake(
        UploadsStart,
        "SpecRule",
        "another target",
        TARGET,
        "Arn: !GetAtt LostEvents.Arn\n          RoleArn",
    ),
    mistake(UploadsStart, "SpecRule", "another's role", "!GetAtt RuleRole.Arn", "!GetAtt ScheduleRole.Arn"),
    mistake(
        UploadsStart,
        "SpecRule",
        "it is switched off",
        "      EventPattern:",
        "      State: DISABLED\n      EventPattern:",
    ),
    mistake(UploadsStart, "RuleRole", "who starts", "events.amazonaws.com", "scheduler.amazonaws.com"),
    mistake(UploadsStart, "RuleRole", "for whom", "!Ref AWS::AccountId", "'210987654321'"),
    mistake(
        UploadsStart,
        "RuleRole",
        "by another action",
        "states:StartExecution",
        "states:StartSyncExecution",
    ),
    mistake(
        UploadsStart,
        "RuleRole",
        "another workflow",
        "Resource: !Ref Workflow",
        "Resource: !Sub '${Workflow}:*'",
    ),
    mistake(StoppedAreRecovered, "StoppedRule", "another source", "[aws.states]", "[aws.s3]"),
    mistake(
        StoppedAreRecovered,
        "StoppedRule",
        "not those that timed out",
        "[ABORTED, TIMED_OUT]",
        "[ABORTED]",
    ),
    mistake(StoppedAreRecovered, "StoppedRule", "not those stopped", "[ABORTED, TIMED_OUT]", "[TIMED_OUT]"),
    mistake(
        StoppedAreRecovered,
        "StoppedRule",
        "failed ones too",
        "[ABORTED, TIMED_OUT]",
        "[ABORTED, TIMED_OUT, FAILED]",
    ),
    mistake(
        StoppedAreRecovered,
        "StoppedRule",
        "by another word",
        "Execution Status Change",
        "Status Change",
    ),
    mistake(
        StoppedAreRecovered,
        "StoppedRule",
        "another workflow",
        "stateMachineArn: [!Ref Workflow]",
        "stateMachineArn: [deploy]",
    ),
    mistake(
        StoppedAreRecovered,
        "StoppedRule",
        "any workflow",
        "          stateMachineArn: [!Ref Workflow]\n",
        "",
    ),
    mistake(
        StoppedAreRecovered,
        "StoppedRule",
        "another target",
        TARGET,
        "Arn: !GetAtt LostEvents.Arn\n          RoleArn",
    ),
    mistake(SchedulesStart, "ScheduleRole", "who starts", "scheduler.amazonaws.com", "events.amazonaws.com"),
    mistake(
        SchedulesStart,
        "ScheduleRole",
        "another group",
        "schedule-group/${AWS::StackName}",
        "schedule-group/default",
    ),
    mistake(
        SchedulesStart,
        "ScheduleRole",
        "by another action",
        "states:StartExecution",
        "states:StartSyncExecution",
    ),
    mistake(
        SchedulesStart,
        "ScheduleRole",
        "another workflow",
        "${AWS::StackName}-deploy",
        "${AWS::StackName}",
    ),
    mistake(
        SchedulesStart,
        "ScheduleGroup",
        "called otherwise",
        "!Ref AWS::StackName",
        "!Sub '${AWS::StackName}-stacks'",
    ),
    mistake(
        SchedulesStart,
        "",
        "another workflow's name",
        "${AWS::StackName}-deploy\n        STACKDROP_TOPIC",
        "${AWS::StackName}\n        STACKDROP_TOPIC",
    ),
    // ---------------------------------------------------------------- events that start nothing
    mistake(EventsAreKept, "SpecRule", "an upload is lost", DEAD_LETTERS, ""),
    mistake(EventsAreKept, "StoppedRule", "an interruption is lost", DEAD_LETTERS, ""),
    mistake(EventsAreKept, "LostEventsPolicy", "nobody may send", "sqs:SendMessage", "sqs:ReceiveMessage"),
    mistake(
        EventsAreKept,
        "LostEventsPolicy",
        "another may send",
        "events.amazonaws.com",
        "sns.amazonaws.com",
    ),
    mistake(
        EventsAreKept,
        "LostEventsPolicy",
        "not for one rule",
        "!GetAtt StoppedRule.Arn",
        "!GetAtt SpecRule.Arn",
    ),
    mistake(
        EventsAreKept,
        "LostEventsPolicy",
        "another queue",
        "Resource: !GetAtt LostEvents.Arn",
        "Resource: !GetAtt Bucket.Arn",
    ),
    mistake(EventsAreKept, "LostEvents", "not for long", "      MessageRetentionPeriod: 1209600\n", ""),
    // ---------------------------------------------------------------- the bucket
    mistake(RecordsExpire, "Bucket", "earlier records stay", "NoncurrentDays: 90", "NoncurrentDays: 90000"),
    mistake(RecordsExpire, "Bucket", "earlier specs go", "Prefix: stacks/", "Prefix: s"),
    mistake(
        RecordsExpire,
        "Bucket",
        "not in force",
        "Status: Enabled\n            Prefix",
        "Status: Disabled\n            Prefix",
    ),
    mistake(OnlyOverTls, "BucketPolicy", "allowed", "Effect: Deny", "Effect: Allow"),
    mistake(OnlyOverTls, "BucketPolicy", "one action", "Action: s3:*", "Action: s3:GetObject"),
    mistake(OnlyOverTls, "BucketPolicy", "no objects", "              - !Sub ${Bucket.Arn}/*\n", ""),
    mistake(OnlyOverTls, "BucketPolicy", "the other way round", "'false'", "'true'"),
    // ---------------------------------------------------------------- who is told
    mistake(AlarmsFire, "DeploymentFailed", "at ninety-one", "Threshold: 1", "Threshold: 91"),
    mistake(
        AlarmsFire,
        "DeploymentFailed",
        "after fifteen minutes",
        "EvaluationPeriods: 1",
        "EvaluationPeriods: 3",
    ),
    mistake(AlarmsFire, "DeploymentFailed", "of no workflow", MACHINE, ""),
    mistake(AlarmsFire, "DeploymentFailed", "always", "notBreaching", "breaching"),
    mistake(AlarmsFire, "DeploymentFailed", "tells nobody", ALARM, "AlarmActions: []"),
    mistake(
        AlarmsFire,
        "DeploymentFailed",
        "at two",
        "GreaterThanOrEqualToThreshold",
        "GreaterThanThreshold",
    ),
    mistake(AlarmsFire, "DeploymentTimedOut", "at ninety-one", "Threshold: 1", "Threshold: 91"),
    mistake(AlarmsFire, "DeploymentTimedOut", "of another metric", "ExecutionsTimedOut", "ExecutionsAborted"),
    mistake(AlarmsFire, "DeploymentTimedOut", "after a day", "Period: 300", "Period: 86400"),
    mistake(AlarmsFire, "DeploymentTimedOut", "tells nobody", ALARM, "AlarmActions: []"),
    mistake(AlarmsFire, "DeploymentThrottled", "at ninety-one", "Threshold: 1", "Threshold: 91"),
    mistake(
        AlarmsFire,
        "DeploymentThrottled",
        "of another metric",
        "ExecutionThrottled",
        "ExecutionsThrottled",
    ),
    mistake(AlarmsFire, "DeploymentThrottled", "tells nobody", ALARM, "AlarmActions: []"),
    mistake(AlarmsFire, "EventLost", "at ninety-one", "Threshold: 1", "Threshold: 91"),
    mistake(
        AlarmsFire,
        "EventLost",
        "of another queue",
        "!GetAtt LostEvents.QueueName",
        "!GetAtt LostEvents.Arn",
    ),
    mistake(AlarmsFire, "EventLost", "tells nobody", ALARM, "AlarmActions: []"),
    mistake(AlarmsFire, "FunctionThrottled", "at ninety-one", "Threshold: 1", "Threshold: 91"),
    mistake(AlarmsFire, "FunctionThrottled", "at once", "EvaluationPeriods: 3", "EvaluationPeriods: 1"),
    mistake(AlarmsFire, "FunctionThrottled", "tells nobody", ALARM, "AlarmActions: []"),
    mistake(
        AlarmsFire,
        "TopicPolicy",
        "another may publish",
        "cloudwatch.amazonaws.com",
        "events.amazonaws.com",
    ),
    mistake(AlarmsFire, "TopicPolicy", "nobody may publish", "sns:Publish", "sns:Subscribe"),
    mistake(AlarmsFire, "TopicPolicy", "for whom", "!Ref AWS::AccountId", "'210987654321'"),
    mistake(
        AlarmsFire,
        "TopicKey",
        "another may encrypt",
        "cloudwatch.amazonaws.com",
        "events.amazonaws.com",
    ),
    mistake(
        AlarmsFire,
        "TopicKey",
        "nobody may encrypt",
        "[kms:Decrypt, kms:GenerateDataKey]",
        "[kms:Decrypt]",
    ),
    mistake(AlarmsFire, "Topic", "the key that AWS manages", "!GetAtt TopicKey.Arn", "alias/aws/sns"),
    mistake(
        RolesAreBounded,
        "",
        "never",
        "!Not [!Equals [!Ref PermissionsBoundary, '']]",
        "!Equals [!Ref PermissionsBoundary, none]",
    ),
];

/// The template without the boundary of one role, for each.
pub(super) fn without_boundary(template: &str) -> Vec<String> {
    const BOUNDARY: &str =
        "      PermissionsBoundary: !If [HasBoundary, !Ref PermissionsBoundary, !Ref AWS::NoValue]\n";
    let places = template.match_indices(BOUNDARY);
    places.map(|(at, _)| format!("{}{}", &template[..at], &template[at + BOUNDARY.len()..])).collect()
}
