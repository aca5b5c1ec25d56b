"""Values and texts in the forms that CRMs take."""
