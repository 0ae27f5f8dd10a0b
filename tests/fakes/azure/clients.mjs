// SPDX-License-Identifier: GPL-3.0-or-later
// Asks the double what our own client asks it, by Azure's clients; run by
// tests/cases/azure/npm-clients.sh.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import { RecoveryServicesClient } from "@azure/arm-recoveryservices";
import { RecoveryServicesBackupClient } from "@azure/arm-recoveryservicesbackup";
import { ComputeManagementClient } from "@azure/arm-compute";
import { KeyClient, CryptographyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";

const { BASE, SUB, TENANT } = process.env;
const done = [];

// Of the double's own Entra ID, so that it is checked too.
const credential = {
	async getToken(scopes) {
		const scope = Array.isArray(scopes) ? scopes[0] : scopes;
		const r = await fetch(`${BASE}/${TENANT}/oauth2/v2.0/token`, {
			method: "POST",
			body: new URLSearchParams({
				grant_type: "client_credentials", client_id: "app1",
				client_secret: "s3cret/+ &=x", scope }),
		});
		const j = await r.json();
		assert.equal(r.status, 200, JSON.stringify(j));
		return { token: j.access_token, expiresOnTimestamp: Date.now() + 3600e3 };
	},
};
const options = { endpoint: BASE, credentialScopes: ["https://management.azure.com/.default"] };
const collect = async (pages) => {
	const all = [];
	for await (const x of pages)
		all.push(x);
	return all;
};

{
	const c = new RecoveryServicesClient(credential, SUB, options);
	const list = c.vaults.listBySubscriptionId ? c.vaults.listBySubscriptionId()
		: c.vaults.listBySubscription();
	const vaults = await collect(list);
	assert.deepEqual(vaults.map((v) => v.name), ["contoso-rsv", "other", "third"]);
	const v = await c.vaults.get("Backup-RG", "contoso-rsv");
	assert.equal(v.properties.provisioningState, "Succeeded");
	await assert.rejects(c.vaults.get("Backup-RG", "nothing"), { code: "ResourceNotFound" });
	done.push("recoveryservices");
}
const container = "IaasVMContainer;iaasvmcontainerv2;web-rg;web-01";
const item = "VM;iaasvmcontainerv2;web-rg;web-01";
{
	const c = new RecoveryServicesBackupClient(credential, SUB, options);
	const items = await collect(c.backupProtectedItems.list("contoso-rsv", "Backup-RG", {
		filter: "backupManagementType eq 'AzureIaasVM' and itemType eq 'VM'" }));
	assert.equal(items.length, 5);
	const web = items.find((i) => i.properties.friendlyName === "web-01");
	assert.equal(web.properties.protectedItemType, "Microsoft.Compute/virtualMachines");
	const points = await collect(c.recoveryPoints.list("contoso-rsv", "Backup-RG", "Azure",
		container, item));
	assert.equal(points.length, 3);
	const p = await c.recoveryPoints.get("contoso-rsv", "Backup-RG", "Azure", container, item,
		points[0].name);
	assert.equal(p.properties.objectType, "IaasVMRecoveryPoint");
	assert.equal(p.properties.recoveryPointTierDetails[0].type, "InstantRP");
	assert.equal(p.properties.keyAndSecret.bekDetails.secretUrl, "https://kv/secrets/s/a");
	const policies = await collect(c.backupPolicies.list("contoso-rsv", "Backup-RG"));
	assert.equal(policies[0].properties.retentionPolicy.retentionPolicyType,
		"LongTermRetentionPolicy");
	await c.restores.beginTriggerAndWait("contoso-rsv", "Backup-RG", "Azure", container, item,
		points[0].name, { properties: {
			objectType: "IaasVMRestoreRequest", recoveryPointId: points[0].name,
			recoveryType: "RestoreDisks", region: "westeurope",
			sourceResourceId: web.properties.sourceResourceId,
			storageAccountId: `/subscriptions/${SUB}/resourceGroups/x/providers/Microsoft.Storage/storageAccounts/acct`,
			createNewCloudService: false, originalStorageAccountOption: false } },
		{ updateIntervalInMs: 10 });
	const jobs = await collect(c.backupJobs.list("contoso-rsv", "Backup-RG"));
	assert.equal(jobs.length, 1);
	let job;
	for (let i = 0; i < 4; i++)
		job = await c.jobDetails.get("contoso-rsv", "Backup-RG", jobs[0].name);
	assert.equal(job.properties.status, "Completed");
	assert.equal(job.properties.extendedInfo.propertyBag["Target Storage Account Name"], "acct");
	done.push("backup");
}
{
	const c = new ComputeManagementClient(credential, SUB, options);
	const all = await collect(c.restorePointCollections.listAll());
	assert.equal(all.length, 1);
	const rg = all[0].id.split("/")[4];
	const one = await c.restorePointCollections.get(rg, all[0].name, { expand: "restorePoints" });
	const rp = one.restorePoints[0];
	assert.equal(rp.sourceMetadata.storageProfile.osDisk.diskSizeGB, 1);
	const disks = await collect(c.diskRestorePointOperations
		? c.diskRestorePointOperations.listByRestorePoint(rg, all[0].name, rp.name)
		: c.diskRestorePoint.listByRestorePoint(rg, all[0].name, rp.name));
	const ops = c.diskRestorePointOperations ?? c.diskRestorePoint;
	const grant = await (ops.beginGrantAccessAndWait
		? ops.beginGrantAccessAndWait(rg, all[0].name, rp.name, disks[0].name,
			{ access: "Read", durationInSeconds: 600 }, { updateIntervalInMs: 10 })
		: ops.grantAccess(rg, all[0].name, rp.name, disks[0].name,
			{ access: "Read", durationInSeconds: 600 }, { updateIntervalInMs: 10 }));
	const head = await fetch(grant.accessSAS, { method: "HEAD" });
	assert.equal(head.headers.get("content-length"), String((1 << 30) + 512));
	assert.equal(head.headers.get("x-ms-blob-type"), "PageBlob");
	done.push("compute");
}
const kv = { disableChallengeResourceVerification: true };
{
	const c = new KeyClient(BASE, credential, kv);
	const key = await c.getKey("kek");
	assert.equal(key.keyType, "RSA");
	await assert.rejects(c.getKey("nothing"), { statusCode: 404, code: "KeyNotFound" });
	const gone = await c.getDeletedKey("gone");
	assert.equal(gone.name, "gone");
	const pub = crypto.createPublicKey({ format: "jwk", key: {
		kty: "RSA", n: Buffer.from(key.key.n).toString("base64url"),
		e: Buffer.from(key.key.e).toString("base64url") } });
	const plain = crypto.randomBytes(172);
	const wrapped = crypto.publicEncrypt({ key: pub, oaepHash: "sha1",
		padding: crypto.constants.RSA_PKCS1_OAEP_PADDING }, plain);
	const cc = new CryptographyClient(key.id, credential, kv);
	const back = await cc.unwrapKey("RSA-OAEP", wrapped);
	assert.deepEqual(Buffer.from(back.result), plain);
	done.push("keys");
}
{
	const c = new SecretClient(BASE, credential, kv);
	const s = await c.getSecret("s", { version: "a" });
	assert.equal(s.value, "v");
	assert.equal(s.properties.contentType, "Wrapped BEK");
	assert.equal(s.properties.tags.x, "y");
	await c.setSecret("new", "value", { tags: { a: "b" } });
	assert.equal((await c.getSecret("new")).value, "value");
	await assert.rejects(c.getSecret("nothing"), { statusCode: 404, code: "SecretNotFound" });
	done.push("secrets");
}
console.log(done.join(" "));
