"""Model bundles and the signed TUF repository that devices fetch them from, with the keys that sign it."""
