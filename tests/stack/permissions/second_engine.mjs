// Decides every request again with @cloud-copilot/iam-simulate, and compares the decisions with those of the simulator.
// (The package is under the AGPL. It is a separate program that only this test uses, and is never shipped.) Reads a JSON
// document from the file in the first argument, and prints a JSON document with the differences.
//
// In:  { "identity": { ROLE: [document] }, "boundary": { ROLE: document }, "resource": { ARN: document },
//        "decisions": [{ "principal": NAME, "action": …, "resource": …, "policyOf": ARN, "keys": { KEY: [value] },
//                        "allowed": true }] }
// Out: { "agreed": 12, "differences": [{ "decision": …, "says": "…" }] }

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [, , input, modules] = process.argv
const resolve = createRequire(pathToFileURL(`${modules}/`)).resolve
const { runSimulation } = await import(pathToFileURL(resolve('@cloud-copilot/iam-simulate')))

const { identity, boundary, resource, decisions } = JSON.parse(readFileSync(input, 'utf8'))
const named = (name, policy) => ({ name, policy })

// A resource that a call creates has `*` in place of its ID, which the engine would take for a pattern.
const concrete = (arn) => (arn === '*' ? arn : arn.replaceAll('*', 'new'))

async function verdict({ principal, action, resource: arn, policyOf, keys }) {
  const account = arn.split(':')[4] || '123456789012'
  const contextVariables = Object.fromEntries(
    Object.entries(keys).map(([key, values]) => [key, values.length === 1 ? values[0] : values])
  )
  const response = await runSimulation(
    {
      request: { principal, action, resource: { resource: concrete(arn), accountId: account }, contextVariables },
      identityPolicies: (identity[principal] ?? []).map((policy, at) => named(`policy-${at}`, policy)),
      permissionBoundaryPolicies: boundary[principal] ? [named('boundary', boundary[principal])] : undefined,
      resourcePolicy: resource[policyOf],
      serviceControlPolicies: [],
      resourceControlPolicies: [],
    },
    {}
  )
  return response.resultType === 'error' ? `Error: ${JSON.stringify(response.errors)}` : response.overallResult
}

let agreed = 0
const differences = []
for (const decision of decisions) {
  const says = await verdict(decision)
  if ((says === 'Allowed') === decision.allowed && !says.startsWith('Error')) agreed += 1
  else differences.push({ decision, says })
}
console.log(JSON.stringify({ agreed, differences }))
