-- Passwords of the roles on a developer's machine. Known to everybody.
alter role confirmd_migrate password 'for-development-only';
alter role confirmd_app password 'for-development-only';
alter role confirmd_read password 'for-development-only';
