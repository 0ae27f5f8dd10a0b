#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A double of Azure: Entra ID, IMDS, ARM (Recovery Services, Backup, Compute),
Key Vault, and the page blobs behind them, on loopback.

usage: double.py --dir DIR --world WORLD.json [--azurite URL]

Listens on two ports that the kernel chooses: https (all of Azure) and http (the
endpoints of managed identities, and control). DIR gets cert.pem (its own CA), and
ports.json once it is ready. What the answers look like was recorded from the
real services or is in their specifications; the official npm clients are run
against it (tests/cases/azure/npm-clients.sh), so that what our client
passes theirs passes too.

It checks what it is sent: bearer tokens by their audience and time, api
versions, assertions by their signature, SAS by the byte. It counts each request.
Faults follow a script: POST /_double/faults, see class Faults.

Which service is meant: by the host where there is a name (management.localhost,
login.localhost, NAME.vault.localhost), on 127.0.0.1 by the path. With --azurite
the bytes of blobs are in Azurite and only pass through here, where they can
still be counted and disturbed.
"""
import argparse
import base64
import datetime
import hashlib
import hmac
import http.client
import http.server
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid

SPACE = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
BACKUP = "Microsoft.RecoveryServices"
DEV_ACCOUNT = "devstoreaccount1"
DEV_KEY = ("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq"
           "/K1SZFPTOtr/KBHBeksoGMGw==")


def guid(*words):
    return str(uuid.uuid5(SPACE, "/".join(str(w) for w in words)))


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def un_b64u(text):
    # Key Vault takes padded standard base64 here as well.
    text = text.replace("+", "-").replace("/", "_").rstrip("=")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def vhd_footer(size):
    cylinders = min(size // 512 // 16 // 255, 65535)
    f = struct.pack(">8sIIQI4sI4sQQHBBII16s", b"conectix", 2, 0x10000,
                    0xFFFFFFFFFFFFFFFF, 0, b"win ", 0x000A0000, b"Wi2k", size,
                    size, cylinders, 16, 255, 2, 0,
                    hashlib.md5(str(size).encode()).digest())
    f += bytes(512 - len(f))
    total = ~sum(f) & 0xFFFFFFFF
    return f[:64] + struct.pack(">I", total) + f[68:]


class Answer(Exception):
    """An answer to a request; raised or returned."""

    def __init__(self, status, body=b"", headers=None, kind="application/json"):
        super().__init__(status)
        self.status = status
        self.headers = dict(headers or {})
        if not isinstance(body, (bytes, bytearray)):
            body = json.dumps(body).encode()
        self.body = body
        if body and kind:
            self.headers.setdefault("Content-Type", kind)


def arm_error(status, code, message, headers=None):
    return Answer(status, {"error": {"code": code, "message": message}}, headers)


def blob_error(status, code, message=""):
    body = ('<?xml version="1.0" encoding="utf-8"?><Error><Code>%s</Code><Message>%s\n'
            "RequestId:0\nTime:2026-01-01T00:00:00Z</Message></Error>" % (code, message or code))
    return Answer(status, body.encode(), {"x-ms-error-code": code}, "application/xml")


def kv_error(status, code, message, inner=None):
    error = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return Answer(status, {"error": error})


def key_settings(key):
    """Which secret and which key: {"secretUrl", "keyUrl"}, as the settings of a disk have it."""
    out = {"diskEncryptionKey": {"secretUrl": key["secretUrl"], "sourceVault": {"id": "x"}}}
    if key.get("keyUrl"):
        out["keyEncryptionKey"] = {"keyUrl": key["keyUrl"], "sourceVault": {"id": "x"}}
    return out


class Faults:
    """Scripted faults, the first that matches is applied.

    {"match": REGEX over "SERVICE METHOD path?query", "range": part of x-ms-range, "after": how many requests
    that match pass first, "times": how many are hit then (absent: all),
    "status", "body" (text or JSON), "headers": the answer instead;
    "action": "drop" (connection closed with no answer), "short" (half of the
    body, then closed), "stall" (nothing for "seconds"), "revoke" (every SAS dies, then as usual), "touch" (the
    blob changes, then as usual)}
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.rules = []

    def add(self, rule):
        rule = dict(rule)
        rule["re"] = re.compile(rule["match"])
        rule["hits"] = 0
        with self.lock:
            self.rules.append(rule)

    def find(self, line, wanted):
        with self.lock:
            for rule in self.rules:
                if not rule["re"].search(line) or rule.get("range", "") not in wanted:
                    continue
                n = rule["hits"]
                rule["hits"] += 1
                after = rule.get("after", 0)
                if n < after or n >= after + rule.get("times", 1 << 60):
                    continue
                return rule
        return None


class Counts:
    def __init__(self):
        self.lock = threading.Lock()
        self.reset()

    def reset(self):
        self.by = {}
        self.lines = []

    def add(self, service, line):
        with self.lock:
            self.by[service] = self.by.get(service, 0) + 1
            self.lines.append(line)


# --- blobs --------------------------------------------------------------------


class Blob:
    """Bytes of a page blob: data runs of a sparse file, then a VHD footer."""

    def __init__(self, image=None, data=None, footer=True):
        self.version = 1
        self.modified = "Sun, 22 Nov 2026 01:00:00 GMT"
        self.image = image
        self.lock = threading.Lock()
        if image:
            self.disk = os.path.getsize(image)
            self.tail = vhd_footer(self.disk) if footer else b""
            self.data = None
        else:
            self.data = bytes(data)
            self.disk = len(self.data)
            self.tail = b""
        self.size = self.disk + len(self.tail)

    def etag(self):
        return '"0x8D%013X"' % self.version

    def read(self, start, end):
        out = b""
        if start < self.disk:
            n = min(end, self.disk) - start
            if self.data is not None:
                out = self.data[start:start + n]
            else:
                with open(self.image, "rb") as f:
                    f.seek(start)
                    out = f.read(n)
        if end > self.disk:
            out += self.tail[max(start - self.disk, 0):end - self.disk]
        return out

    def runs(self):
        """(start, end) of what is data, in pages of 512, ascending."""
        found = []
        if self.data is not None:
            return [(0, self.size)] if self.size else []
        with open(self.image, "rb") as f:
            at = 0
            while at < self.disk:
                try:
                    start = os.lseek(f.fileno(), at, os.SEEK_DATA)
                except OSError:
                    break
                at = os.lseek(f.fileno(), start, os.SEEK_HOLE)
                found.append((start // 512 * 512, min(-(-at // 512) * 512, self.disk)))
        if self.tail:
            if found and found[-1][1] == self.disk:
                found[-1] = (found[-1][0], self.size)
            else:
                found.append((self.disk, self.size))
        return found


class Azurite:
    """Page blobs kept in Azurite, under the emulator's account."""

    def __init__(self, url):
        u = urllib.parse.urlsplit(url)
        self.host, self.port = u.hostname, u.port
        self.local = threading.local()
        self.made = set()

    def sign(self, method, path, query, headers, length):
        low = {k.lower(): v for k, v in headers.items()}
        ms = "".join("%s:%s\n" % (k, low[k]) for k in sorted(low) if k.startswith("x-ms-"))
        resource = "/" + DEV_ACCOUNT + path + "".join(
            "\n%s:%s" % (k, ",".join(v)) for k, v in sorted(query.items()))
        text = "\n".join([
            method, "", "", str(length) if length else "", "",
            low.get("content-type", ""), "", low.get("if-modified-since", ""),
            low.get("if-match", ""), low.get("if-none-match", ""),
            low.get("if-unmodified-since", ""), low.get("range", ""), ms + resource])
        mac = hmac.new(base64.b64decode(DEV_KEY), text.encode(), hashlib.sha256)
        return "SharedKey %s:%s" % (DEV_ACCOUNT, base64.b64encode(mac.digest()).decode())

    def call(self, method, path, query=None, headers=None, body=b""):
        query = {k: [v] for k, v in (query or {}).items()}
        headers = dict(headers or {})
        headers["x-ms-date"] = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
        headers.setdefault("x-ms-version", "2021-12-02")
        path = "/%s%s" % (DEV_ACCOUNT, path)
        headers["Authorization"] = self.sign(method, path, query, headers, len(body))
        if method == "PUT":
            headers["Content-Length"] = str(len(body))
        q = urllib.parse.urlencode({k: v[0] for k, v in query.items()})
        conn = http.client.HTTPConnection(self.host, self.port, timeout=60)
        conn.request(method, path + ("?" + q if q else ""), body or None, headers)
        r = conn.getresponse()
        data = r.read()
        answer = (r.status, dict(r.getheaders()), data)
        conn.close()
        return answer

    def put(self, container, name, blob):
        """Uploads what is data of a blob, once for each of its versions."""
        at = "/%s/%s" % (container, name)
        if (at, blob.version) in self.made:
            return
        self.call("PUT", "/" + container, {"restype": "container"})
        status, _, text = self.call("PUT", at, None, {
            "x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": str(blob.size)})
        if status != 201:
            raise RuntimeError("azurite: %d %r" % (status, text))
        for start, end in blob.runs():
            while start < end:
                n = min(end - start, 4 << 20)
                status, _, text = self.call(
                    "PUT", at, {"comp": "page"},
                    {"x-ms-page-write": "update",
                     "x-ms-range": "bytes=%d-%d" % (start, start + n - 1)},
                    blob.read(start, start + n))
                if status != 201:
                    raise RuntimeError("azurite: %d %r" % (status, text))
                start += n
        self.made.add((at, blob.version))


# --- the world ------------------------------------------------------------------


class World:
    def __init__(self, config):
        self.c = config
        self.sub = config.get("subscription", guid("subscription"))
        self.tenant = config.get("tenant", guid("tenant"))
        self.page = config.get("page", 100)
        self.lock = threading.RLock()
        self.tokens = {}
        self.ops = {}
        self.jobs = {}
        self.sas = {}
        self.blobs = {}
        self.images = {}
        self.backups = {}
        self.restores = 0
        self.vaults = {}
        for v in config.get("vaults", []):
            self.add_vault(v)
        for i in range(config.get("more_vaults", 0)):
            self.add_vault({"name": "vault-%04d" % i, "rg": "rg-%04d" % i})
        self.kv = config.get("keyvaults", {})
        self.containers = config.get("containers", {})
        for account, containers in self.containers.items():
            for container, blobs in containers.items():
                for name, what in blobs.items():
                    self.blobs["%s/%s/%s" % (account, container, name)] = self.make_blob(what)

    def make_blob(self, what):
        if "image" in what:
            return Blob(image=what["image"], footer=what.get("footer", True))
        if "utf16" in what:
            data = what["utf16"].encode("utf-16-le")
            # As the service leaves it: padded with NULs to whole pages.
            return Blob(data=data + bytes(-len(data) % 512))
        return Blob(data=what["text"].encode())

    def add_vault(self, v):
        items = list(v.get("items", []))
        for i in range(v.get("more_vms", 0)):
            items.append({"vm": "vm-%04d" % i, "rg": "farm", "points": []})
        v = dict(v, items=items)
        v["id"] = "/subscriptions/%s/resourceGroups/%s/providers/%s/vaults/%s" % (
            self.sub, v["rg"], BACKUP, v["name"])
        self.vaults[(v["rg"].lower(), v["name"].lower())] = v

    # What the vault is called in the URLs that it makes itself.
    def vault_json(self, v):
        out = {
            "location": v.get("location", "westeurope"), "name": v["name"],
            "etag": "W/\"datetime'2026-07-26T13%3A06%3A23.1Z'\"",
            "tags": v.get("tags", {}),
            "properties": {
                "provisioningState": "Succeeded",
                "privateEndpointStateForBackup": "None",
                "backupStorageVersion": "V2", "publicNetworkAccess": "Enabled",
                "securitySettings": {
                    "softDeleteSettings": {"softDeleteRetentionPeriodInDays": 14,
                                           "softDeleteState": "AlwaysON"},
                    "immutabilitySettings": {"state": v.get("immutability", "Disabled")},
                    "multiUserAuthorization": "Disabled"},
                "redundancySettings": {
                    "standardTierStorageRedundancy": "GeoRedundant",
                    "crossRegionRestore": "Disabled"}},
            "id": v["id"], "type": BACKUP + "/vaults",
            "sku": {"name": "RS0", "tier": "Standard"}}
        if v.get("minimal"):
            out = {k: out[k] for k in ("location", "name", "etag", "id", "type", "sku")}
            out["properties"] = {"provisioningState": "Succeeded"}
        return out

    def item_names(self, item):
        if item.get("kind", "vm") == "vm":
            tail = "%s;%s" % (item["rg"].lower(), item["vm"])
            kind = "iaasvmcontainer" if item.get("classic") else "iaasvmcontainerv2"
            return "IaasVMContainer;%s;%s" % (kind, tail), "VM;%s;%s" % (kind, tail)
        return item["container"], item["name"]

    def item_id(self, v, item):
        container, name = self.item_names(item)
        return ("%s/backupFabrics/Azure/protectionContainers/%s/protectedItems/%s"
                % (v["id"], container, name))

    def vm_id(self, item):
        provider = "Microsoft.ClassicCompute" if item.get("classic") else "Microsoft.Compute"
        return "/subscriptions/%s/resourceGroups/%s/providers/%s/virtualMachines/%s" % (
            self.sub, item["rg"], provider, item["vm"])

    def item_json(self, v, item):
        container, name = self.item_names(item)
        points = item.get("points", [])
        last = max((p["time"] for p in points), default=None)
        p = {
            "backupManagementType": "AzureIaasVM", "workloadType": "VM",
            "vaultId": "https://management.azure.com" + v["id"],
            "isScheduledForDeferredDelete": bool(item.get("soft_deleted")),
            "isArchiveEnabled": False, "softDeleteRetentionPeriodInDays": 14}
        kind = item.get("kind", "vm")
        if kind == "vm":
            p.update({
                "friendlyName": item["vm"], "virtualMachineId": self.vm_id(item),
                "sourceResourceId": self.vm_id(item), "protectionStatus": "Healthy",
                "protectionState": item.get("state", "Protected"), "healthStatus": "Passed",
                "lastBackupStatus": "Completed", "protectedItemDataId": "1",
                "policyId": v["id"] + "/backupPolicies/DefaultPolicy",
                "policyName": "DefaultPolicy", "policyType": "V1",
                "containerName": container.split(";", 1)[1],
                "protectedItemType": "Microsoft.ClassicCompute/virtualMachines"
                if item.get("classic") else "Microsoft.Compute/virtualMachines",
                "extendedProperties": {"linuxVmApplicationName": ""}})
            if last:
                p["lastRecoveryPoint"] = p["lastBackupTime"] = last
        elif kind == "sql":
            p.update({"backupManagementType": "AzureWorkload", "workloadType": "SQLDataBase",
                      "protectedItemType": "AzureVmWorkloadSQLDatabase",
                      "friendlyName": item["friendly"], "serverName": item.get("server"),
                      "parentName": "MSSQLSERVER", "protectionState": "Protected"})
        elif kind == "files":
            p.update({"backupManagementType": "AzureStorage", "workloadType": "AzureFileShare",
                      "protectedItemType": "AzureFileShareProtectedItem",
                      "friendlyName": item["friendly"], "protectionState": "Protected"})
        elif kind == "mab":
            p.update({"backupManagementType": "MAB", "workloadType": "FileFolder",
                      "protectedItemType": "MabFileFolderProtectedItem",
                      "friendlyName": item["friendly"], "computerName": "PC-1",
                      "protectionState": "Protected"})
        return {"id": self.item_id(v, item), "name": name,
                "type": BACKUP + "/vaults/backupFabrics/protectionContainers/protectedItems",
                "properties": p}

    def point_json(self, v, item, point, whole):
        kind = item.get("kind", "vm")
        old = point.get("old")
        tiers = []
        numbers = {"InstantRP": 1, "HardenedRP": 2, "ArchivedRP": 3}
        for t in point.get("tiers", ["InstantRP", "HardenedRP"]):
            name, _, status = t.partition(":")
            status = status or "Valid"
            tiers.append({"type": numbers[name], "status": {"Valid": 1, "Disabled": 2, "Deleted": 3}[status]}
                         if old else {"type": name, "status": status})
        if kind == "sql":
            p = {"objectType": "AzureWorkloadSQLRecoveryPoint",
                 "recoveryPointTimeInUTC": point["time"], "type": "Full"}
        elif kind == "files":
            p = {"objectType": "AzureFileShareRecoveryPoint", "recoveryPointType": "FileSystemConsistent",
                 "recoveryPointTime": point["time"], "recoveryPointSizeInGB": 1,
                 "fileShareSnapshotUri": "https://x.file.core.windows.net/y?sharesnapshot=1"}
        elif kind == "mab":
            p = {"objectType": "GenericRecoveryPoint", "friendlyName": item["friendly"],
                 "recoveryPointTime": point["time"], "recoveryPointType": "Unknown"}
        else:
            p = {
                "objectType": "IaasVMRecoveryPoint",
                "recoveryPointType": point.get("type", "AppConsistent"),
                "recoveryPointTime": point["time"], "recoveryPointAdditionalInfo": "",
                "sourceVMStorageType": "PremiumVMOnPartialPremiumStorage",
                "isSourceVMEncrypted": "key" in point or bool(point.get("encrypted")),
                "isInstantIlrSessionActive": False,
                "recoveryPointTierDetails": tiers, "isManagedVirtualMachine": True,
                "virtualMachineSize": "Standard_D2s_v5", "originalStorageAccountOption": False,
                "osType": point.get("os", "Linux"),
                "recoveryPointMoveReadinessInfo": {"ArchivedRP": {
                    "isReadyForMove": False, "additionalInfo": "..."}},
                "securityType": "None",
                "isPrivateAccessEnabledOnAnyDisk": bool(point.get("private")),
                "createdWithPolicyType": "V1"}
            if "expiry" in point:
                p["recoveryPointProperties"] = {"expiryTime": point["expiry"], "ruleName": "Daily"}
            if "disk_config" in point:
                p["recoveryPointDiskConfiguration"] = point["disk_config"]
            # The list does not have it, as in the documented sample.
            if whole and "key" in point:
                k = point["key"]
                p["keyAndSecret"] = {
                    "bekDetails": {"secretUrl": k["secretUrl"], "secretVaultId": k.get("secretVaultId", ""),
                                   "secretData": k.get("secretData", "")},
                    "kekDetails": {"keyUrl": k["keyUrl"], "keyVaultId": k.get("keyVaultId", ""),
                                   "keyBackupData": k.get("keyBackupData", "")}
                    if k.get("keyUrl") else None,
                    "encryptionMechanism": k.get("mechanism", "SinglePass")}
        name = self.point_name(item, point)
        return {"id": self.item_id(v, item) + "/recoveryPoints/" + name, "name": name,
                "type": BACKUP + "/vaults/backupFabrics/protectionContainers/protectedItems/recoveryPoints",
                "properties": p}

    def point_name(self, item, point):
        whole = re.sub(r"\D", "", point["time"])
        return point.get("name") or str(10 ** 14 + int(guid(item.get("vm", item.get("name")),
                                                           point["time"], whole)[:8], 16) * 10007)

    # --- restore points

    def snapshots(self, item):
        return [p for p in item.get("points", []) if p.get("snapshot")]

    def collections(self):
        for v in self.vaults.values():
            for item in v["items"]:
                if item.get("kind", "vm") == "vm" and self.snapshots(item):
                    yield v, item

    def collection_id(self, item):
        rg = item.get("snapshot_rg", "AzureBackupRG_westeurope_1")
        return ("/subscriptions/%s/resourceGroups/%s/providers/Microsoft.Compute"
                "/restorePointCollections/AzureBackup_%s_%d"
                % (self.sub, rg.upper() if item.get("shout") else rg, item["vm"],
                   int(guid(item["vm"])[:8], 16)))

    def restore_point_name(self, point):
        t = re.match(r"(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)", point["time"]).groups()
        return "AzureBackup_%s%s%s_%s%s%s" % t

    def disk_point(self, item, point, disk):
        return "%s_%s" % (disk["name"], guid(item["vm"], point["time"], disk["name"]))

    def restore_point_json(self, item, point):
        rp = self.collection_id(item) + "/restorePoints/" + self.restore_point_name(point)

        def one(d):
            out = {"name": d["name"], "diskRestorePoint": {
                "id": rp + "/diskRestorePoints/" + self.disk_point(item, point, d)},
                "managedDisk": {"id": "/subscriptions/%s/resourceGroups/%s/providers/"
                                "Microsoft.Compute/disks/%s" % (self.sub, item["rg"], d["name"]),
                                "storageAccountType": "Premium_LRS"},
                "caching": "ReadWrite"}
            if not d.get("no_size"):
                out["diskSizeGB"] = d.get("gib") or -(-os.path.getsize(d["image"]) >> 30)
            if d.get("key"):
                out["encryptionSettings"] = dict(key_settings(d["key"]), enabled=True)
            return out
        profile = {}
        data = []
        for d in point["disks"]:
            if d.get("lun") is None:
                profile["osDisk"] = dict(one(d), osType=point.get("os", "Linux"))
            else:
                data.append(dict(one(d), lun=d["lun"]))
        profile["dataDisks"] = data
        return {"id": rp, "name": self.restore_point_name(point), "properties": {
            "timeCreated": point.get("snapshot_time", point["time"]),
            "consistencyMode": "ApplicationConsistent", "provisioningState": "Succeeded",
            "sourceMetadata": {"vmId": guid(item["vm"]), "location": "westeurope",
                               "storageProfile": profile}}}

    def collection_json(self, item, expand):
        p = {"source": {"id": self.vm_id(item).replace("resourceGroups", "resourcegroups"),
                        "location": "westeurope"},
             "restorePointCollectionId": guid("rpc", item["vm"]),
             "provisioningState": "Succeeded"}
        if expand:
            p["restorePoints"] = [self.restore_point_json(item, s) for s in self.snapshots(item)]
        return {"id": self.collection_id(item), "name": self.collection_id(item).rsplit("/", 1)[1],
                "type": "Microsoft.Compute/restorePointCollections",
                "location": "westeurope", "properties": p}


class Services:
    """Routes: each returns an Answer."""

    def __init__(self, world, directory, azurite):
        self.w = world
        self.dir = directory
        self.azurite = azurite
        self.faults = Faults()
        self.counts = Counts()
        self.https = None
        self.http = None

    # --- which service

    def service(self, host, path, secure):
        name = host.rsplit(":", 1)[0].lower()
        if path.startswith("/_double/"):
            return "control"
        if not secure:
            return "identity"
        if name == "login.localhost" or re.search(r"/oauth2/(v2\.0/)?token$", path):
            return "entra"
        if name.endswith((".vault.localhost", ".managedhsm.localhost")) or re.match(r"/(deleted)?(secrets|keys)(/|$)", path):
            return "vault"
        if re.match(r"/(md-|blob/)", path):
            return "blob"
        return "arm"

    def answer(self, req):
        req.service = self.service(req.headers.get("Host", ""), req.path, req.secure)
        line = "%s %s %s" % (req.service, req.method, req.target)
        if req.headers.get("x-ms-previous-snapshot-url"):
            line += " previous"
        if req.service != "control":
            self.counts.add(req.service, line)
            rule = self.faults.find(line, req.headers.get("x-ms-range") or "")
            if rule:
                action = rule.get("action")
                if action == "drop":
                    return None
                if action == "revoke":
                    with self.w.lock:
                        for s in self.w.sas.values():
                            s["dead"] = True
                elif action == "touch":
                    self.touch(req)
                elif action == "stall":
                    time.sleep(rule.get("seconds", 300))
                elif action == "short":
                    req.short = True
                if "status" in rule:
                    body = rule.get("body", "")
                    if isinstance(body, str):
                        body = body.encode()
                    return Answer(rule["status"], body, rule.get("headers"))
        try:
            return getattr(self, "on_" + req.service)(req)
        except Answer as a:
            return a

    # --- tokens

    def issue(self, audience, seconds=3600, claims=None):
        body = {"aud": audience, "iss": "https://sts.windows.net/%s/" % self.w.tenant,
                "iat": int(time.time()), "nbf": int(time.time()) - 5,
                "exp": int(time.time()) + seconds, "tid": self.w.tenant,
                "oid": guid("oid"), "n": len(self.w.tokens)}
        token = "%s.%s.%s" % (b64u(b'{"alg":"none","typ":"JWT"}'), b64u(json.dumps(body).encode()),
                              b64u(os.urandom(24)))
        with self.w.lock:
            self.w.tokens[token] = (audience.rstrip("/"), time.time() + seconds)
        return token

    def check_token(self, req, audiences):
        """None when all is well, else what is wrong."""
        m = re.match(r"Bearer (.+)$", req.headers.get("Authorization", ""))
        if not m:
            return "missing"
        with self.w.lock:
            known = self.w.tokens.get(m.group(1))
        if not known:
            return "unknown"
        if known[1] < time.time():
            return "expired"
        if known[0] not in audiences:
            return "audience " + known[0]
        return None

    def on_entra(self, req):
        form = {k: v[0] for k, v in urllib.parse.parse_qs(req.body.decode()).items()}

        def no(status, code, text):
            return Answer(status, {"error": code, "error_description": text, "error_codes": [0],
                                   "trace_id": guid("t"), "correlation_id": guid("c")})
        tenant = req.path.split("/")[1]
        if tenant.lower() not in (self.w.tenant, "organizations"):
            return no(400, "invalid_request", "AADSTS90002: Tenant '%s' not found." % tenant)
        if form.get("grant_type") != "client_credentials":
            return no(400, "unsupported_grant_type", "AADSTS70003")
        client = self.w.c.get("clients", {}).get(form.get("client_id"))
        if client is None:
            return no(400, "unauthorized_client", "AADSTS700016: Application with identifier "
                      "'%s' was not found in the directory." % form.get("client_id"))
        scope = form.get("scope", "")
        if not scope.endswith("/.default"):
            return no(400, "invalid_scope", "AADSTS70011: The provided value for 'scope' is not valid.")
        if "client_secret" in form:
            if form["client_secret"] != client.get("secret"):
                return no(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
        elif form.get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
            why = self.bad_assertion(req, form, client)
            if why:
                return no(401, "invalid_client", "AADSTS700027: " + why)
        else:
            return no(401, "invalid_client", "AADSTS7000218: no client_secret or client_assertion.")
        seconds = self.w.c.get("token_seconds", 3600)
        return Answer(200, {"token_type": "Bearer", "expires_in": seconds - 1,
                            "ext_expires_in": seconds - 1,
                            "access_token": self.issue(scope[:-len("/.default")], seconds)})

    def bad_assertion(self, req, form, client):
        text = form.get("client_assertion", "")
        if "federated" in client and text == client["federated"]:
            return None
        try:
            from cryptography import x509
            from cryptography.hazmat.primitives import hashes
            from cryptography.hazmat.primitives.asymmetric import padding
            head, body, sig = text.split(".")
            h, b = json.loads(un_b64u(head)), json.loads(un_b64u(body))
            with open(client["cert"], "rb") as f:
                cert = x509.load_pem_x509_certificate(f.read())
            if h != {"alg": "PS256", "typ": "JWT",
                     "x5t#S256": b64u(cert.fingerprint(hashes.SHA256()))}:
                return "header " + str(h)
            cert.public_key().verify(
                un_b64u(sig), (head + "." + body).encode(),
                padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
            aud = "https://%s%s" % (req.headers["Host"], req.path)
            if b["aud"] != aud:
                return "aud is %s, wanted %s" % (b["aud"], aud)
            if b["iss"] != form["client_id"] or b["sub"] != form["client_id"]:
                return "iss, sub"
            uuid.UUID(b["jti"])
            if not b["nbf"] <= time.time() <= b["exp"] <= b["nbf"] + 700:
                return "time"
        except Exception as e:  # whatever is wrong with it, it is refused
            return "not a good assertion: %r" % e
        return None

    def on_identity(self, req):
        c = self.w.c.get("identity", {})
        q = req.query

        def give(resource, text):
            seconds = self.w.c.get("token_seconds", 3600)
            t = self.issue(resource, seconds)
            return Answer(200, {"access_token": t, "refresh_token": "", "expires_in": str(seconds - 1),
                                "expires_on": str(int(time.time()) + seconds - 1),
                                "not_before": str(int(time.time())), "resource": resource,
                                "token_type": "Bearer", "client_id": guid(text)})
        if req.path == "/metadata/identity/oauth2/token" and "imds" in c:
            if req.headers.get("Metadata") != "true" or req.headers.get("X-Forwarded-For"):
                return Answer(400, {"error": "invalid_request", "error_description": "Required metadata header not specified"})
            if q.get("api-version") != "2018-02-01":
                return Answer(400, {"error": "bad_request_102", "error_description": "Required API version"})
            if not c["imds"]:
                return Answer(400, {"error": "invalid_request", "error_description": "Identity not found"})
            wanted = c["imds"]
            if wanted is not True and q.get("client_id") != wanted:
                return Answer(400, {"error": "invalid_request", "error_description": "Multiple user assigned identities exist"})
            return give(q.get("resource", ""), "imds")
        if req.path == "/msi/token" and "app" in c:
            if req.headers.get("X-IDENTITY-HEADER") != c["app"] or q.get("api-version") != "2019-08-01":
                return Answer(401, {"statusCode": 401, "message": "unauthorized"})
            return give(q.get("resource", ""), "app")
        if req.path == "/arc/token" and "arc" in c:
            if req.headers.get("Metadata") != "true" or q.get("api-version") != "2020-06-01":
                return Answer(400, {"error": "invalid_request"})
            key = c.get("arc_key")
            if key is None:
                with open(c["arc"], encoding="ascii") as f:
                    key = f.read()
            if req.headers.get("Authorization") != "Basic " + key:
                return Answer(401, {"error": "unauthorized"},
                              {"WWW-Authenticate": "Basic realm=" + c["arc"]})
            return give(q.get("resource", ""), "arc")
        return Answer(404, {"error": "not_found"})

    # --- control

    def on_control(self, req):
        what = req.path[len("/_double/"):]
        if what == "counts":
            with self.counts.lock:
                return Answer(200, {"by": self.counts.by, "lines": self.counts.lines,
                                    "total": len(self.counts.lines),
                                    "restores": self.w.restores,
                                    "sas": sum(1 for s in self.w.sas.values()
                                               if not s.get("dead") and s["until"] > time.time()),
                                    "faults": [r["hits"] for r in self.faults.rules]})
        if what == "reset":
            with self.counts.lock:
                self.counts.reset()
            with self.faults.lock:
                self.faults.rules = []
            return Answer(200, {})
        if what == "faults":
            for rule in json.loads(req.body):
                self.faults.add(rule)
            return Answer(200, {})
        if what == "world":
            # Replaces parts of the world.
            new = json.loads(req.body)
            with self.w.lock:
                for v in new.pop("vaults", []):
                    self.w.add_vault(v)
                self.w.kv.update(new.pop("keyvaults", {}))
                self.w.c.update(new)
            return Answer(200, {})
        if what == "keyvaults":
            return Answer(200, self.w.kv)
        if what == "write":
            # As if a machine had begun to use it.
            with self.w.lock:
                for name, b in self.w.blobs.items():
                    if name.startswith(json.loads(req.body)):
                        b.version += 1
                        b.modified = "Sat, 26 Dec 2026 13:55:00 GMT"
            return Answer(200, {})
        if what == "remove":
            # Blobs, by what their names begin with.
            with self.w.lock:
                for name in [k for k in self.w.blobs if k.startswith(json.loads(req.body))]:
                    del self.w.blobs[name]
            return Answer(200, {})
        if what == "given":
            # What nobody may find in the memory of our programs.
            with self.w.lock:
                return Answer(200, {"tokens": [{"audience": a, "token": t} for t, (a, _) in self.w.tokens.items()],
                                    "sas": [s["sig"] for s in self.w.sas.values()]})
        if what == "token":
            return Answer(200, {"token": self.issue(req.query["aud"])})
        return Answer(404, {})

    # --- ARM

    def arm_url(self, req):
        return "https://%s" % req.headers["Host"]

    def on_arm(self, req):
        arm = self.w.c.get("arm_audiences", ["https://management.azure.com", "https://management.core.windows.net"])
        why = self.check_token(req, arm + [self.arm_url(req)])
        if why:
            return arm_error(401, "InvalidAuthenticationToken" if why != "expired" else "ExpiredAuthenticationToken",
                             "The access token is invalid (%s)." % why,
                             {"WWW-Authenticate": 'Bearer authorization_uri="https://login.microsoftonline.com/%s", '
                              'error="invalid_token"' % self.w.tenant})
        if "api-version" not in req.query:
            return arm_error(400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
        path = urllib.parse.unquote(req.path)
        sub = re.match(r"/+subscriptions/([^/]+)(/.*)?$", path, re.I)
        if not sub:
            return arm_error(404, "NotFound", "no such path")
        if sub.group(1).lower() != self.w.sub.lower():
            return arm_error(404, "SubscriptionNotFound", "The subscription '%s' could not be found." % sub.group(1))
        rest = sub.group(2) or ""
        a = self.w.c.get("deny")
        if a and re.search(a, path):
            return arm_error(403, "AuthorizationFailed", "The client '%s' with object id '%s' does not have authorization to "
                             "perform action 'X/read' over scope '%s' or the scope is invalid. If access was recently granted, "
                             "please refresh your credentials." % (guid("oid"), guid("oid"), path))
        if re.search(r"/providers/microsoft\.compute/", rest, re.I):
            return self.compute(req, path, rest)
        return self.backup(req, path, rest)

    def paged(self, req, values):
        """A page of values; the rest behind nextLink."""
        at = int(req.query.get("$skipToken", "0") or "0")
        out = {"value": values[at:at + self.w.page]}
        if at + self.w.page < len(values):
            q = dict(req.query)
            q["$skipToken"] = str(at + self.w.page)
            out["nextLink"] = self.arm_url(req) + req.path + "?" + urllib.parse.urlencode(q)
        elif self.w.c.get("null_next"):
            out["nextLink"] = None
        return Answer(200, out, {"x-ms-ratelimit-remaining-subscription-resource-requests": "1099"})

    def find_vault(self, rg, name):
        v = self.w.vaults.get((rg.lower(), name.lower()))
        if not v:
            raise arm_error(404, "ResourceNotFound", "The Resource 'Microsoft.RecoveryServices/vaults/%s' under "
                            "resource group '%s' was not found. For more details please go to "
                            "https://aka.ms/ARMResourceNotFoundFix" % (name, rg),
                            {"x-ms-failure-cause": "gateway"})
        return v

    def backup(self, req, path, rest):
        w = self.w
        if re.match(r"/providers/microsoft\.recoveryservices/vaults$", rest, re.I):
            return self.paged(req, [w.vault_json(v) for v in w.vaults.values()])
        m = re.match(r"/resourceGroups/([^/]+)/providers/microsoft\.recoveryservices/vaults(?:/([^/]+)(/.*)?)?$", rest, re.I)
        if not m:
            return arm_error(404, "InvalidResourceNamespace", "The resource namespace is invalid.", {"x-ms-failure-cause": "gateway"})
        if not m.group(2):
            return self.paged(req, [w.vault_json(v) for v in w.vaults.values() if v["rg"].lower() == m.group(1).lower()])
        v = self.find_vault(m.group(1), m.group(2))
        below = m.group(3) or ""
        if not below:
            return Answer(200, w.vault_json(v))
        low = below.lower()
        if low == "/backupprotecteditems":
            items = v["items"]
            f = req.query.get("$filter", "")
            t = re.search(r"backupManagementType eq '(\w+)'", f)
            if t:
                items = [i for i in items if w.item_json(v, i)["properties"]["backupManagementType"].lower() == t.group(1).lower()]
            return self.paged(req, [w.item_json(v, i) for i in items])
        if low == "/backuppolicies" or low.startswith("/backuppolicies/"):
            policy = {"id": v["id"] + "/backupPolicies/DefaultPolicy", "name": "DefaultPolicy",
                      "type": BACKUP + "/vaults/backupPolicies", "properties": {
                          "backupManagementType": "AzureIaasVM", "policyType": "V1", "instantRpRetentionRangeInDays": 2,
                          "timeZone": "UTC", "protectedItemsCount": len(v["items"]),
                          "schedulePolicy": {"schedulePolicyType": "SimpleSchedulePolicy", "scheduleRunFrequency": "Daily",
                                             "scheduleRunTimes": ["2018-01-24T02:00:00Z"], "scheduleWeeklyFrequency": 0},
                          "retentionPolicy": {"retentionPolicyType": "LongTermRetentionPolicy", "dailySchedule": {
                              "retentionTimes": ["2018-01-24T02:00:00Z"], "retentionDuration": {"count": 30, "durationType": "Days"}}}}}
            return self.paged(req, [policy]) if low == "/backuppolicies" else Answer(200, policy)
        if low.startswith("/backupjobs"):
            jobs = [j for j in w.jobs.values() if j["vault"] is v]
            name = below[len("/backupjobs"):].strip("/")
            if not name:
                if w.c.get("no_jobs"):
                    return arm_error(403, "AuthorizationFailed", "The client does not have authorization to perform "
                                     "action 'Microsoft.RecoveryServices/vaults/backupJobs/read'.")
                wanted = req.query.get("$filter", "")
                listed = [self.job_json(j, False) for j in jobs]
                for key, value in re.findall(r"(\w+) eq '([^']*)'", wanted):
                    listed = [j for j in listed if j["properties"][key] == value]
                return self.paged(req, listed)
            for j in jobs:
                if j["id"] == name:
                    return Answer(200, self.job_json(j, True))
            return arm_error(404, "BMSUserErrorObjectNotFound", "Job not found")
        m = re.match(r"/backupFabrics/Azure/protectionContainers/([^/]+)/protectedItems/([^/]+)(/.*)?$", below, re.I)
        if not m:
            return arm_error(404, "NotFound", "no such path: " + below)
        for item in v["items"]:
            names = w.item_names(item)
            if names[0].lower() == m.group(1).lower() and names[1].lower() == m.group(2).lower():
                return self.item(req, v, item, m.group(3) or "")
        return arm_error(404, "BMSUserErrorContainerObjectNotFound", "Item not found")

    def item(self, req, v, item, rest):
        w = self.w
        if not rest:
            return Answer(200, w.item_json(v, item))
        m = re.match(r"/operation(sStatus|Results)/([^/]+)$", rest, re.I)
        if m:
            return self.operation(req, m.group(2), m.group(1).lower() == "results")
        points = sorted(item.get("points", []), key=lambda p: p["time"], reverse=True)
        for i in range(item.get("more_points", 0)):
            points.append({"time": "2025-%02d-%02dT%02d:00:00.0000000Z" % (i // 28 // 24 % 12 + 1, i // 24 % 28 + 1, i % 24),
                           "tiers": ["HardenedRP"]})
        if rest.lower() == "/recoverypoints":
            return self.paged(req, [w.point_json(v, item, p, False) for p in points])
        m = re.match(r"/recoveryPoints/([^/]+)(/restore)?$", rest, re.I)
        if m:
            for p in points:
                if w.point_name(item, p) == m.group(1):
                    if m.group(2):
                        return self.restore(req, v, item, p)
                    return Answer(200, w.point_json(v, item, p, True))
        return arm_error(404, "BMSUserErrorObjectNotFound", "Recovery point not found")

    def restore(self, req, v, item, point):
        w = self.w
        if req.method != "POST":
            return arm_error(405, "MethodNotAllowed", "")
        body = json.loads(req.body)["properties"]
        account = body.get("storageAccountId", "").rsplit("/", 1)[-1]
        if (body.get("objectType") != "IaasVMRestoreRequest" or body.get("recoveryType") != "RestoreDisks"
                or body.get("recoveryPointId") != w.point_name(item, point) or not account
                or body.get("sourceResourceId", "").lower() != w.vm_id(item).lower() or not body.get("region")):
            return arm_error(400, "BMSUserErrorInvalidInput", "Input provided for the call is invalid")
        with w.lock:
            w.restores += 1
            op = guid("restore", w.restores)
            w.jobs[op] = {"id": op, "vault": v, "item": item, "point": point, "polls": 0, "account": account,
                          "started": w.restores % 60, "fails": w.c.get("restore_fails")}
            w.ops[op] = {"polls": 0, "job": op}
        base = self.arm_url(req) + req.path.split("/recoveryPoints/")[0]
        # As long as the service's own, with its signature of 3 KB.
        tail = "?api-version=2025-02-01&t=638&c=%s&s=%s&h=x" % ("MIIH" * 700, "b" * 340)
        return Answer(202, b"", {"azure-asyncoperation": base + "/operationsStatus/" + op + tail,
                                 "location": base + "/operationResults/" + op + tail,
                                 "Retry-After": str(w.c.get("retry_after", 0))})

    def operation(self, req, op, result):
        w = self.w
        o = w.ops.get(op)
        if not o:
            return arm_error(404, "NotFound", "no such operation")
        if len(req.query.get("c", "")) != 2800:
            return arm_error(400, "BadRequest", "the URL came back changed")
        with w.lock:
            o["polls"] += 1
            done = o["polls"] > 2
        if result:
            return Answer(200 if done else 202, b"")
        body = {"id": op, "name": op, "status": "Succeeded" if done else "InProgress",
                "startTime": "2026-07-26T13:16:55.1Z", "endTime": "0001-01-01T00:00:00"}
        if done:
            body["properties"] = {"objectType": "OperationStatusJobExtendedInfo", "jobId": o["job"]}
        return Answer(200, body)

    def job_json(self, j, whole):
        w = self.w
        with w.lock:
            if whole:
                j["polls"] += 1
            done = j["polls"] > 2
        status = ("Failed" if j["fails"] else "Completed") if done else "InProgress"
        vm = j["item"]["vm"]
        container = "%s-%s" % (vm.lower().replace("-", ""), guid(j["id"]).replace("-", ""))
        config = "config-%s-%s.json" % (vm, j["id"])
        account = j["account"]
        base = self.blob_base(account)
        p = {"jobType": "AzureIaaSVMJob", "actionsInfo": ["Cancellable"],
             "containerName": "iaasvmcontainerv2;%s;%s" % (j["item"]["rg"].lower(), vm),
             "duration": "PT30M46.6954998S" if done else "PT5S", "virtualMachineVersion": "Compute",
             "entityFriendlyName": vm, "backupManagementType": "AzureIaasVM", "operation": "Restore",
             "status": status, "startTime": "2026-12-26T13:%02d:55.1Z" % j["started"],
             "endTime": "2026-12-26T13:47:41.8Z" if done else "0001-01-01T00:00:00",
             "activityId": guid("activity", j["id"])}
        if j["fails"] and done:
            p["errorDetails"] = [{"errorCode": 400239, "errorTitle": j["fails"], "errorString": j["fails"],
                                  "recommendations": ["Retry the operation after some time."]}]
        if whole:
            # As the service writes it: US, to the second, under a name that ends with a space.
            at = datetime.datetime.fromisoformat(j["point"]["time"][:19])
            t = at.strftime("%-m/%-d/%Y %-I:%M:%S %p")
            bag = {"Job Type": "Recover disks", "Target Storage Account Name": account,
                   "Recovery point time ": t, "Target VM Name": None}
            if done and not j["fails"]:
                bag.update({"Config Blob Name": config, "Config Blob Container Name": container,
                            "Config Blob Uri": "%s/%s/%s" % (base, container, config),
                            "Create VM Template Blob Uri": "%s/%s/azuredeploy%s.json" % (base, container, j["id"]),
                            "VM Subscription ID": w.sub})
                if "key" in j["point"]:
                    bag["Encryption Info Blob Name"] = "encryption-info-%s.json" % j["id"]
                self.land(j, account, container, config, base)
            p["extendedInfo"] = {
                "tasksList": [{"taskId": "Transfer data from vault", "duration": "PT0S",
                               "status": "Completed" if done else "InProgress",
                               "taskExecutionDetails": "%d GBs / 127 GBs Transferred" % (127 if done else j["polls"] * 40),
                               "taskType": "Normal"}],
                "propertyBag": bag, "internalPropertyBag": {"restoreLocationType": "RestoreDisks"},
                "progressPercentage": 100.0 if done else 33.0 * j["polls"],
                "estimatedRemainingDuration": "PT0S"}
        return {"id": j["vault"]["id"] + "/backupJobs/" + j["id"], "name": j["id"],
                "type": BACKUP + "/vaults/backupJobs", "properties": p}

    def blob_base(self, account):
        return "https://127.0.0.1:%d/blob/%s" % (self.https, account)

    def land(self, j, account, container, config, base):
        """What a restore job leaves in the storage account."""
        w = self.w
        at = "%s/%s/" % (account, container)
        # Once: what was removed since stays so.
        if j.get("landed"):
            return
        j["landed"] = True
        vm, disks = j["item"]["vm"], j["point"]["disks"]
        stamp = "20260726-131655"
        profile = {"dataDisks": []}
        for d in disks:
            name = "%s-osdisk-%s" % (vm, stamp) if d.get("lun") is None else "%s-datadisk-%03d-%s" % (vm, d["lun"], stamp)
            w.blobs[at + name + ".vhd"] = Blob(image=d["image"])
            one = {"Name": name, "Vhd": {"Uri": "%s/%s/%s.vhd" % (base, container, name)}, "DiskSizeGB": None}
            one = {"name": name, "vhd": {"Uri": one["Vhd"]["Uri"]}, "createOption": "FromImage"}
            if d.get("lun") is None:
                profile["osDisk"] = dict(one, osType="Linux")
            else:
                profile["dataDisks"].append(dict(one, Lun=d["lun"]))
        body = {"id": w.vm_id(j["item"]), "name": vm, "type": "Microsoft.Compute/virtualMachines", "location": "westeurope",
                "properties.hardwareProfile": {"vmSize": "Standard_D2s_v5"}, "properties.storageProfile": profile}
        key = j["point"].get("key")
        if key:
            # Whatever its encoding is: nothing says so.
            w.blobs[at + "encryption-info-%s.json" % j["id"]] = w.make_blob({"utf16": json.dumps(
                {"OsDiskKeyAndSecretDetails": {
                    "KeyUrl": key.get("keyUrl"), "SecretUrl": key["secretUrl"], "SecretData": key.get("secretData", j["point"].get("left_data")),
                    "KeyBackupData": key.get("keyBackupData"),
                    "KeyVaultSecretBackupData": key.get("secretBackupData")}})})
        w.blobs[at + config] = w.make_blob({"utf16": json.dumps(body, indent=1)})
        w.blobs[at + "azuredeploy%s.json" % j["id"]] = w.make_blob({"text": "{}"})

    # --- Compute

    def compute(self, req, path, rest):
        w = self.w
        if re.match(r"/providers/microsoft\.compute/restorepointcollections$", rest, re.I):
            return self.paged(req, [w.collection_json(i, False) for _, i in w.collections()])
        m = re.match(r"/providers/microsoft\.compute/locations/[^/]+/diskoperations/([^/]+)$", rest, re.I)
        if m:
            return self.disk_operation(req, m.group(1))
        m = re.match(r"/resourcegroups/[^/]+/providers/microsoft\.compute/disks/([^/]+)$", rest, re.I)
        if m:
            return self.managed_disk(path, m.group(1))
        for _, item in w.collections():
            base = w.collection_id(item)
            if not path.lower().startswith(base.lower()):
                continue
            tail = path[len(base):]
            if not tail:
                return Answer(200, w.collection_json(item, req.query.get("$expand", "").lower() == "restorepoints"))
            m = re.match(r"/restorePoints/([^/]+)(/diskRestorePoints(?:/([^/]+)(?:/(begin|end)GetAccess)?)?)?$", tail, re.I)
            if not m:
                continue
            for point in w.snapshots(item):
                if w.restore_point_name(point).lower() == m.group(1).lower():
                    return self.restore_point(req, item, point, m)
        return arm_error(404, "ResourceNotFound", "The Resource '%s' was not found." % path)

    def managed_disk(self, path, name):
        """The disk of a machine, as it is now: {"managed_disks": {NAME: KEY or [KEY of a volume, …]}}."""
        disk = self.w.c.get("managed_disks", {}).get(name)
        if disk is None:
            return arm_error(404, "ResourceNotFound", "The Resource 'Microsoft.Compute/disks/%s' was not found." % name)
        keys = disk if isinstance(disk, list) else [disk]
        return Answer(200, {"id": path, "name": name, "location": "westeurope", "properties": {
            "osType": "Linux", "diskSizeGB": 1, "provisioningState": "Succeeded", "diskState": "Attached",
            "encryptionSettingsCollection": {"enabled": True, "encryptionSettingsVersion": "1.1",
                                             "encryptionSettings": [key_settings(k) for k in keys]}}})

    def restore_point(self, req, item, point, m):
        w = self.w
        if not m.group(2):
            return Answer(200, w.restore_point_json(item, point))

        def disk_json(d):
            rp = w.restore_point_json(item, point)["id"]
            name = w.disk_point(item, point, d)
            return {"name": name, "id": rp + "/diskRestorePoints/" + name,
                    "properties": {"timeCreated": point["time"], "osType": "Linux",
                                   "sourceResourceId": "x/" + d["name"], "familyId": guid("family", d["name"]),
                                   "sourceUniqueId": guid("unique", d["name"]),
                                   "networkAccessPolicy": d.get("network", "AllowAll"),
                                   "publicNetworkAccess": "Enabled", "hyperVGeneration": "V2",
                                   "encryption": {"type": "EncryptionAtRestWithPlatformKey"}}}
        if not m.group(3):
            return self.paged(req, [disk_json(d) for d in point["disks"]])
        for d in point["disks"]:
            if w.disk_point(item, point, d).lower() != m.group(3).lower():
                continue
            if not m.group(4):
                return Answer(200, disk_json(d))
            if m.group(4).lower() == "end":
                with w.lock:
                    w.sas.get(w.disk_point(item, point, d), {})["dead"] = True
                return Answer(200, b"")
            return self.begin_access(req, item, point, d)
        return arm_error(404, "NotFound", "no such disk restore point")

    def begin_access(self, req, item, point, d):
        w = self.w
        body = json.loads(req.body or b"{}")
        if req.method != "POST" or body.get("access") != "Read" or not 0 < body.get("durationInSeconds", 0) <= 86400 * 60:
            return arm_error(400, "BadRequest", "access, durationInSeconds")
        if d.get("network", "AllowAll") != "AllowAll":
            return arm_error(409, "OperationNotAllowed", "The disk restore point's network access policy is %s." % d["network"])
        key = w.disk_point(item, point, d)
        family = guid("family", d["name"])
        until = time.time() + body["durationInSeconds"]
        with w.lock:
            s = w.sas.get(key)
            live = [k for k, x in w.sas.items() if x["family"] == family and x["until"] > time.time() and not x.get("dead")]
            if s and not s.get("dead") and s["until"] > time.time():
                # Extended, and the same URL.
                s["until"] = max(s["until"], until)
            elif len(live) >= 5:
                return arm_error(409, "OperationNotAllowed", "Shared access signatures of at most 5 snapshots of one family can be active at a time.")
            else:
                n = len(w.images)
                image = w.images.setdefault(d["image"], Blob(image=d["image"]))
                s = {"family": family, "until": until, "blob": image, "n": n,
                     "path": "/md-%s/%s/abcd" % (guid(key, n)[:12], guid(key)[:12]),
                     "sig": "%s%%2B%s%%3D" % (b64u(os.urandom(12)), b64u(os.urandom(12))),
                     "si": str(uuid.uuid4())}
                w.sas[key] = s
                w.sas_paths = {x["path"]: x for x in w.sas.values()}
                if self.azurite:
                    self.azurite.put("disks", hashlib.md5(d["image"].encode()).hexdigest(), image)
            op = str(uuid.uuid4())
            w.ops[op] = {"polls": 0, "sas": key}
        url = "%s/subscriptions/%s/providers/Microsoft.Compute/locations/westeurope/DiskOperations/%s?p=%s&api-version=2025-01-02" % (
            self.arm_url(req), w.sub, op, guid("p"))
        if w.c.get("sas_at_once"):
            return self.access_answer(key)
        return Answer(202, b"", {"azure-asyncoperation": url, "location": url + "&monitor=true",
                                 "Retry-After": str(w.c.get("retry_after", 0))})

    def access_url(self, key):
        s = self.w.sas[key]
        return "https://127.0.0.1:%d%s?sv=2018-03-28&sr=b&si=%s&sig=%s" % (self.https, s["path"], s["si"], s["sig"])

    def access_answer(self, key):
        return Answer(200, json.dumps({"accessSAS": self.access_url(key)}, indent=2).replace("\n", "\r\n").encode())

    def disk_operation(self, req, op):
        w = self.w
        o = w.ops.get(op)
        if not o:
            return arm_error(404, "NotFound", "no such operation")
        with w.lock:
            if "monitor" not in req.query:
                o["polls"] += 1
            done = o["polls"] >= w.c.get("sas_polls", 2)
        if "monitor" in req.query:
            return self.access_answer(o["sas"]) if done else Answer(202, b"")
        body = {"startTime": "2026-07-26T13:16:55.1Z", "status": "InProgress", "name": op}
        if w.c.get("sas_fails"):
            body.update(status="Failed", error={"code": "InternalExecutionError", "message": w.c["sas_fails"]})
        elif done:
            body.update(status="Succeeded", endTime="2026-07-26T13:16:56.1Z",
                        properties={"output": {"accessSAS": self.access_url(o["sas"])}})
        return Answer(200, json.dumps(body, indent=2).replace("\n", "\r\n").encode())

    # --- blobs

    def touch(self, req):
        s = getattr(self.w, "sas_paths", {}).get(req.path)
        if s:
            s["blob"].version += 1
            if self.azurite:
                self.azurite.put("disks", hashlib.md5(s["blob"].image.encode()).hexdigest(), s["blob"])

    def on_blob(self, req):
        w = self.w
        if req.path.startswith("/md-"):
            with w.lock:
                s = getattr(w, "sas_paths", {}).get(req.path)
            if not s:
                return blob_error(404, "BlobNotFound")
            m = re.search(r"(?:^|&)sig=([^&]*)", req.target.partition("?")[2])
            if s.get("dead") or s["until"] < time.time() or not m or m.group(1) != s["sig"]:
                return blob_error(403, "AuthenticationFailed", "Server failed to authenticate the request.")
            previous = None
            url = req.headers.get("x-ms-previous-snapshot-url")
            if url:
                other = getattr(w, "sas_paths", {}).get(urllib.parse.urlsplit(url).path)
                if not other or other["family"] != s["family"] or other.get("dead"):
                    return blob_error(409, "PreviousSnapshotNotFound")
                previous = other["blob"]
            azurite = ("disks", hashlib.md5(s["blob"].image.encode()).hexdigest()) if self.azurite and not previous else None
            return self.blob(req, s["blob"], azurite, previous)
        m = re.match(r"/blob/([^/]+)/([^/]+)(?:/(.+))?$", urllib.parse.unquote(req.path))
        if not m:
            return blob_error(400, "InvalidUri")
        why = self.check_token(req, ["https://storage.azure.com"])
        if why and not req.headers.get("Authorization", "").startswith("SharedKey "):
            return blob_error(403, "AuthenticationFailed", why)
        if self.w.c.get("storage_denied"):
            return blob_error(403, "AuthorizationPermissionMismatch")
        if not m.group(3):
            return self.list_blobs(req, "%s/%s/" % (m.group(1), m.group(2)))
        b = w.blobs.get("%s/%s/%s" % m.groups())
        if not b:
            return blob_error(404, "BlobNotFound")
        return self.blob(req, b, None, None)

    def list_blobs(self, req, at):
        prefix = req.query.get("prefix", "")
        names = sorted(k[len(at):] for k in self.w.blobs if k.startswith(at) and k[len(at):].startswith(prefix))
        if not any(k.startswith(at) for k in self.w.blobs):
            return blob_error(404, "ContainerNotFound")
        body = '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="x" ContainerName="y"><Blobs>'
        for n in names:
            b = self.w.blobs[at + n]
            kind = "PageBlob" if n.endswith(".vhd") else "BlockBlob"
            body += ("<Blob><Name>%s</Name><Properties><Etag>%s</Etag><Content-Length>%d</Content-Length>"
                     "<BlobType>%s</BlobType></Properties></Blob>" % (n, b.etag().strip('"'), b.size, kind))
        body += "</Blobs><NextMarker /></EnumerationResults>"
        return Answer(200, body.encode(), None, "application/xml")

    def blob(self, req, b, azurite, previous):
        if azurite:
            keep = ("x-ms-range", "range", "if-match", "x-ms-version", "x-ms-range-get-content-md5")
            headers = {k: v for k, v in req.headers.items() if k.lower() in keep}
            query = {k: v for k, v in req.query.items() if k in ("comp", "marker", "maxresults")}
            status, head, data = self.azurite.call(req.method, "/%s/%s" % azurite, query, headers)
            drop = ("connection", "keep-alive", "transfer-encoding", "date", "server", "content-length")
            a = Answer(status, data, {k: v for k, v in head.items() if k.lower() not in drop}, None)
            if req.method == "HEAD":
                a.length = head.get("content-length") or head.get("Content-Length")
            return a
        common = {"ETag": b.etag(), "Last-Modified": b.modified, "x-ms-blob-type": "PageBlob",
                  "x-ms-version": "2021-12-02", "Accept-Ranges": "bytes"}
        if req.headers.get("If-Match") not in (None, "*", b.etag()):
            return blob_error(412, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.")
        if req.method == "HEAD":
            a = Answer(200, b"", common)
            a.length = str(b.size)
            return a
        wanted = req.headers.get("x-ms-range") or req.headers.get("Range")
        start, end = 0, b.size
        if wanted:
            m = re.match(r"bytes=(\d+)-(\d*)$", wanted)
            if not m:
                return blob_error(400, "InvalidHeaderValue")
            start = int(m.group(1))
            end = min(int(m.group(2)) + 1 if m.group(2) else b.size, b.size)
            if start >= b.size:
                a = blob_error(416, "InvalidRange")
                a.headers["Content-Range"] = "bytes */%d" % b.size
                return a
        if req.query.get("comp") == "pagelist":
            return self.page_list(req, b, common, start, end, previous)
        if "comp" in req.query:
            return blob_error(400, "InvalidQueryParameterValue")
        data = b.read(start, end)
        if wanted:
            common["Content-Range"] = "bytes %d-%d/%d" % (start, end - 1, b.size)
        return Answer(206 if wanted else 200, data, common, "application/octet-stream")

    def page_list(self, req, b, common, start, end, previous):
        cap = min(int(req.query.get("maxresults", "10000")), self.w.c.get("page_ranges", 10000))
        if cap <= 0:
            return blob_error(400, "OutOfRangeQueryParameterValue")
        runs = [("PageRange", s, e) for s, e in b.runs()]
        if previous:
            runs = self.changed(b, previous)
        runs = [(k, max(s, start), min(e, end)) for k, s, e in runs if s < end and e > start]
        at = int(req.query.get("marker", "0") or "0")
        part = runs[at:at + cap]
        body = '<?xml version="1.0" encoding="utf-8"?><PageList>' + "".join(
            "<%s><Start>%d</Start><End>%d</End></%s>" % (k, s, e - 1, k) for k, s, e in part)
        body += ("<NextMarker>%d</NextMarker>" % (at + cap) if at + cap < len(runs) else "<NextMarker />") + "</PageList>"
        common["x-ms-blob-content-length"] = str(b.size)
        return Answer(200, body.encode(), common, "application/xml")

    def changed(self, b, previous):
        """The pages of b that differ from those of previous, in runs of 64 KiB."""
        out = []
        step = 65536
        blocks = set()
        for start, end in b.runs() + previous.runs():
            blocks.update(range(start // step, (end - 1) // step + 1))
        for at in (n * step for n in sorted(blocks)):
            end = min(at + step, b.size)
            new = b.read(at, end)
            if new == previous.read(at, end):
                continue
            out.append(("PageRange" if any(new) else "ClearRange", at, end))
        return out

    # --- Key Vault

    def vault_name(self, req):
        name = req.headers.get("Host", "").rsplit(":", 1)[0].lower()
        if name.endswith((".vault.localhost", ".managedhsm.localhost")):
            return name.split(".")[0]
        return self.w.c.get("keyvault", "kv1")

    def on_vault(self, req):
        w = self.w
        resource = w.c.get("kv_resource", "https://vault.localhost")
        hsm = ".managedhsm." in req.headers.get("Host", "").lower()
        if hsm:
            resource = "https://managedhsm.localhost"
        why = self.check_token(req, [resource] + ([] if hsm else ["https://vault.azure.net"]))
        if why:
            return Answer(401, {"error": {"code": "Unauthorized", "message":
                                          "AKV10000: Request is missing a Bearer or PoP token." if why == "missing"
                                          else "AKV10022: Invalid audience or token: " + why}},
                          {"WWW-Authenticate": 'Bearer authorization="https://%s/%s", resource="%s"' % (
                              w.c.get("kv_authority", "127.0.0.1:%d" % self.https), w.tenant, resource)})
        if "api-version" not in req.query:
            return kv_error(400, "BadParameter", "api-version must be specified")
        kv = w.kv.get(self.vault_name(req))
        if kv is None:
            return kv_error(404, "NotFound", "no such vault")
        parts = [urllib.parse.unquote(p) for p in req.path.split("/") if p]
        base = "https://%s" % req.headers["Host"]
        if hsm and not parts[0].lower().endswith("keys"):
            return kv_error(404, "NotFound", "a managed HSM has keys only")
        with w.lock:
            return self.vault_call(req, kv, base, parts)

    def vault_call(self, req, kv, base, parts):
        kind = parts[0].lower()
        deleted = kind.startswith("deleted")
        family = kind[7:] if deleted else kind
        table = kv.setdefault(family, {})
        one = "Secret" if family == "secrets" else "Key"
        deny = kv.get("deny", {})
        verb = "get"
        if len(parts) == 2 and parts[1].lower() == "restore" and req.method == "POST":
            verb = "restore"
        elif parts[-1].lower() == "unwrapkey":
            verb = "unwrapKey"
        elif req.method == "PUT":
            verb = "set"
        d = deny.get(family + "/" + verb) or deny.get(family)
        if d:
            return kv_error(d[0], d[1], d[3] if len(d) > 3 else "denied", d[2] if len(d) > 2 else None)
        if verb == "restore":
            return self.vault_restore(req, kv, base, family, table, one)
        if len(parts) < 2:
            names = [n for n, x in table.items() if bool(x.get("deleted")) == deleted]
            return Answer(200, {"value": [{"id" if family == "secrets" else "kid": "%s/%s/%s" % (base, family, n),
                                           "attributes": {"enabled": True}} for n in names], "nextLink": None})
        name = next((n for n in table if n.lower() == parts[1].lower()), None)
        x = table.get(name)
        if deleted:
            if not x or not x.get("deleted"):
                return kv_error(404, one + "NotFound", "Deleted %s not found: %s" % (one, parts[1]))
            now = int(time.time())
            return Answer(200, {"recoveryId": "%s/%s/%s" % (base, kind, name), "deletedDate": now - 86400,
                                "scheduledPurgeDate": now + int(x["deleted"]) * 86400 + 60,
                                "id" if family == "secrets" else "key":
                                "%s/%s/%s/1" % (base, family, name) if family == "secrets" else {"kid": "%s/%s/%s/1" % (base, family, name)},
                                "attributes": {"enabled": True, "recoveryLevel": "Recoverable+Purgeable"}})
        if verb == "set":
            if x and x.get("deleted"):
                return kv_error(409, "Conflict", "Secret %s is currently in a deleted but recoverable state" % name, "ObjectIsDeletedButRecoverable")
            body = json.loads(req.body)
            ver = guid("set", name, len(table.get(parts[1], {}).get("versions", {}))).replace("-", "")
            table.setdefault(parts[1], {"versions": {}})["versions"][ver] = {
                "value": body["value"], "contentType": body.get("contentType"), "tags": body.get("tags", {})}
            table[parts[1]]["current"] = ver
            return self.secret_json(base, parts[1], ver, table[parts[1]]["versions"][ver])
        if not x or x.get("deleted"):
            return kv_error(404, one + "NotFound",
                            "A %s with (name/id) %s was not found in this key vault. If you recently deleted this %s you may be able to recover it using the correct recovery command." % (
                                one.lower(), parts[1], one.lower()))
        rest = parts[2:]
        ver = rest[0] if rest and rest[0].lower() not in ("unwrapkey", "versions") else x.get("current") or list(x["versions"])[-1]
        item = x["versions"].get(ver)
        if not item:
            return kv_error(404, one + "NotFound", "A %s with (name/id) %s/%s was not found in this key vault." % (one.lower(), name, ver))
        if item.get("disabled"):
            return kv_error(403, "Forbidden", "Operation get is not allowed on a disabled %s." % one.lower(), one + "Disabled")
        if family == "secrets":
            return self.secret_json(base, name, ver, item)
        if verb == "unwrapKey":
            return self.unwrap(req, base, name, ver, item)
        return Answer(200, self.key_json(base, name, ver, item))

    def secret_json(self, base, name, ver, item):
        out = {"value": item["value"], "id": "%s/secrets/%s/%s" % (base, name, ver),
               "attributes": {"enabled": True, "created": 1600000000, "updated": 1600000000,
                              "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90},
               "tags": item.get("tags", {})}
        if item.get("contentType"):
            out["contentType"] = item["contentType"]
        return Answer(200, out)

    def key_json(self, base, name, ver, item):
        from cryptography.hazmat.primitives import serialization
        with open(item["pem"], "rb") as f:
            pub = serialization.load_pem_private_key(f.read(), None).public_key().public_numbers()
        return {"key": {"kid": "%s/keys/%s/%s" % (base, name, ver), "kty": "RSA", "key_ops": ["unwrapKey", "wrapKey"],
                        "n": b64u(pub.n.to_bytes((pub.n.bit_length() + 7) // 8, "big")),
                        "e": b64u(pub.e.to_bytes(3, "big"))},
                "attributes": {"enabled": True, "created": 1600000000, "updated": 1600000000,
                               "recoveryLevel": "Recoverable+Purgeable"}, "tags": {}}

    def unwrap(self, req, base, name, ver, item):
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding
        if req.method != "POST":
            return kv_error(405, "MethodNotAllowed", "")
        body = json.loads(req.body)
        if item.get("no_unwrap"):
            return kv_error(403, "Forbidden", "Operation unwrapKey is not permitted on this key.")
        if item.get("expired"):
            return kv_error(403, "Forbidden", "Operation unwrapKey is not allowed on an expired key.", "KeyExpired")
        pads = {"RSA-OAEP": padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),
                "RSA-OAEP-256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
                "RSA1_5": padding.PKCS1v15()}
        with open(item["pem"], "rb") as f:
            key = serialization.load_pem_private_key(f.read(), None)
        if body.get("alg") not in pads:
            return kv_error(400, "BadParameter", "Algorithm %s is not supported" % body.get("alg"))
        try:
            plain = key.decrypt(un_b64u(body["value"]), pads[body["alg"]])
        except ValueError:
            return kv_error(400, "BadParameter", "Key and/or value parameter is invalid")
        return Answer(200, {"kid": "%s/keys/%s/%s" % (base, name, ver), "value": b64u(plain)})

    def vault_restore(self, req, kv, base, family, table, one):
        try:
            blob = json.loads(un_b64u(json.loads(req.body)["value"]))
        except ValueError:
            return kv_error(400, "BadParameter", "Backup blob is not valid")
        name = blob["name"]
        x = table.get(name)
        if x:
            return kv_error(409, "Conflict", "%s %s already exists" % (one, name) if not x.get("deleted")
                            else "%s %s is currently in a deleted but recoverable state" % (one, name),
                            "ObjectIsDeletedButRecoverable" if x.get("deleted") else None)
        table[name] = {"versions": blob["versions"]}
        ver = list(blob["versions"])[-1]
        if family == "secrets":
            return self.secret_json(base, name, ver, blob["versions"][ver])
        return Answer(200, self.key_json(base, name, ver, blob["versions"][ver]))


# --- the servers ---------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    secure = True
    services = None

    def log_message(self, *args):
        pass

    def serve(self):
        n = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(n) if n else b""
        self.method = self.command
        self.target = self.path
        path, _, query = self.target.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.short = False
        whole = self.path
        self.path = path
        try:
            a = self.services.answer(self)
        finally:
            self.path = whole
        if a is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(a.status)
        for k, v in a.headers.items():
            self.send_header(k, v)
        length = getattr(a, "length", None)
        self.send_header("Content-Length", length or str(len(a.body)))
        self.send_header("x-ms-request-id", guid("request"))
        self.end_headers()
        if self.method != "HEAD":
            if self.short:
                self.wfile.write(a.body[:len(a.body) // 2])
                self.close_connection = True
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.wfile.write(a.body)

    def do_GET(self):
        self.serve()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    context = None

    def finish_request(self, request, client_address):
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # In the thread of the connection: a slow handshake holds up nobody.
        if self.context:
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except (ssl.SSLError, OSError):
                return
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        e = sys.exc_info()[1]
        if not isinstance(e, (ConnectionError, TimeoutError, ssl.SSLError)):
            super().handle_error(request, client_address)


def make_certificate(directory):
    pem = os.path.join(directory, "cert.pem")
    key = os.path.join(directory, "cert.key")
    names = ("IP:127.0.0.1,DNS:localhost,DNS:management.localhost,DNS:login.localhost,"
             "DNS:*.vault.localhost,DNS:*.managedhsm.localhost,DNS:*.blob.localhost")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", "/CN=azure double",
                    "-addext", "subjectAltName=" + names, "-keyout", key, "-out", pem],
                   check=True, stderr=subprocess.DEVNULL)
    return pem, key


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--dir", required=True)
    p.add_argument("--world", required=True)
    p.add_argument("--azurite")
    args = p.parse_args()
    with open(args.world, encoding="utf-8") as f:
        world = World(json.load(f))
    services = Services(world, args.dir, Azurite(args.azurite) if args.azurite else None)
    pem, key = make_certificate(args.dir)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    secure = Server(("127.0.0.1", 0), type("Secure", (Handler,), {"secure": True, "services": services}))
    secure.context = context
    plain = Server(("127.0.0.1", 0), type("Plain", (Handler,), {"secure": False, "services": services}))
    services.https = secure.server_address[1]
    services.http = plain.server_address[1]
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    ports = {"https": services.https, "http": services.http, "cert": pem, "pid": os.getpid(),
             "subscription": world.sub, "tenant": world.tenant}
    temporary = os.path.join(args.dir, "ports.json.new")
    with open(temporary, "w", encoding="utf-8") as f:
        json.dump(ports, f)
    os.rename(temporary, os.path.join(args.dir, "ports.json"))
    secure.serve_forever()


if __name__ == "__main__":
    main()
